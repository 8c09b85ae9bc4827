import {
  BusyError,
  ContextError,
  FormatError,
  InputError,
  LowrankError,
  NotFoundError,
  UnsupportedError,
} from "../errors.ts";
import { eventText } from "./event-stream.ts";

/** OpenAI's kinds of errors. */
export type ErrorType =
  | "invalid_request_error"
  | "authentication_error"
  | "permission_error"
  | "not_found_error"
  | "rate_limit_error"
  | "server_error";

/** What an error says beside its message. */
export interface HttpErrorDetails {
  readonly type?: ErrorType;
  /** Field of the request at fault. */
  readonly param?: string | null;
  readonly headers?: Readonly<Record<string, string>>;
  /** Whether the same request may succeed a little later. Default false. */
  readonly mayRetry?: boolean;
  readonly cause?: unknown;
  /** What is wrong with an uploaded file. */
  readonly faults?: FileFaults;
}

/** One thing wrong with an uploaded file. */
export interface FileFault {
  /** "line 3", or "file". */
  readonly where: string;
  /** OpenAI's name for it; null: it has none. */
  readonly code: string | null;
  readonly message: string;
}

export interface FileFaults {
  readonly first: readonly FileFault[];
  /** Further ones, which are counted only. */
  readonly leftOut: number;
}

/** An error that a client is told with a status. */
export class HttpError extends LowrankError {
  readonly status: number;
  readonly details: HttpErrorDetails;
  constructor(status: number, code: string, message: string, details: HttpErrorDetails = {}) {
    super(code, message, details.cause === undefined ? {} : { cause: details.cause });
    this.status = status;
    this.details = details;
  }
}

/** The body of every error, as OpenAI's clients read it. */
export interface ErrorBody {
  readonly error: {
    readonly message: string;
    readonly type: ErrorType;
    readonly param: string | null;
    readonly code: string | null;
  };
}

/** Any error as one that a client is told. What is no error of ours says nothing of what went wrong inside. */
export function httpErrorOf(error: unknown): HttpError {
  if (error instanceof HttpError) return error;
  const cause = { cause: error };
  if (error instanceof InputError) return inputError(error);
  if (error instanceof FormatError) return new HttpError(400, "invalid_format", error.message, cause);
  if (error instanceof UnsupportedError) return new HttpError(400, "unsupported", error.message, cause);
  if (error instanceof NotFoundError)
    return new HttpError(404, "model_not_found", error.message, { ...cause, type: "not_found_error" });
  if (error instanceof BusyError)
    return new HttpError(429, "queue_full", error.message, {
      ...cause,
      type: "rate_limit_error",
      mayRetry: true,
      headers: { "retry-after": "1" },
    });
  if (error instanceof LowrankError && error.code === "storage") return storageError(error);
  const message = error instanceof LowrankError ? error.message : "the server failed; its log says why";
  return new HttpError(500, "internal_error", message, { ...cause, type: "server_error" });
}

/** A disk that does not take what a request brings; where it lies is nobody's business. */
function storageError(error: LowrankError): HttpError {
  const reason = error.message.split(": ").at(-1) ?? "";
  return new HttpError(507, "insufficient_storage", `the server cannot keep it: ${reason}`, { cause: error });
}

function inputError(error: InputError): HttpError {
  const problems = error.problems.map(({ where, message }) => ({ where: requestName(where), message }));
  const isOverflow = error instanceof ContextError;
  const more = error.count > problems.length ? [`and ${error.count - problems.length} more`] : [];
  const message = [...problems.map((p) => `${p.where}: ${p.message}`), ...more].join("; ");
  return new HttpError(400, isOverflow ? "context_length_exceeded" : "invalid_value", message, {
    param: problems.length === 1 ? (problems[0]?.where ?? null) : null,
    cause: error,
  });
}

/** `maxTokens` → `max_tokens`: options have their OpenAI names outside. What is named within one stays as it is. */
function requestName(where: string): string {
  return where.replace(/^\w+/, (option) => option.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`));
}

/** An error as a client reads it. */
export function errorBody({ status, message, code, details }: HttpError): ErrorBody {
  const type = details.type ?? (status >= 500 ? "server_error" : "invalid_request_error");
  return { error: { message, type, param: details.param ?? null, code } };
}

/** The response of an error. `x-should-retry`: the `openai` package repeats 408, 409, 429 and 5xx unless told otherwise. */
export function errorResponse(error: HttpError): Response {
  const headers = { ...error.details.headers, "x-should-retry": String(error.details.mayRetry === true) };
  return Response.json(errorBody(error), { status: error.status, headers });
}

/** The last event of a stream that fails under way. */
export function streamFailure(c: { get(key: "note"): Record<string, unknown> }, error: unknown): string {
  const failure = httpErrorOf(error);
  c.get("note").error = failure.code;
  return eventText(errorBody(failure));
}

import { LowrankError, NetworkError, NotFoundError } from "../../errors.ts";
import type { ErrorBody } from "../errors.ts";
import type { EventObject, JobObject } from "./objects.ts";

/** Where a server is, and who asks. */
export interface JobClientOptions {
  /** "http://127.0.0.1:8080"; with or without /v1 */
  readonly url: string;
  readonly apiKey: string | null;
  readonly signal?: AbortSignal;
}

/** Asks a server about its jobs. Each throws NetworkError, NotFoundError, or LowrankError with the server's code. */
export interface JobClient {
  /** The newest first, all pages. */
  list(): AsyncGenerator<JobObject>;
  get(id: string): Promise<JobObject>;
  act(id: string, action: "cancel" | "pause" | "resume"): Promise<JobObject>;
  /** Events as they come, to the end of the job. */
  follow(id: string): AsyncGenerator<EventObject>;
}

interface JobPage {
  readonly data: readonly JobObject[];
  readonly has_more: boolean;
}

export function jobClient({ url, apiKey, signal }: JobClientOptions): JobClient {
  const base = `${url.replace(/\/+$/, "").replace(/\/v1$/, "")}/v1/fine_tuning/jobs`;
  const ask = async (path: string, method = "GET"): Promise<Response> => {
    const headers = apiKey === null ? {} : { authorization: `Bearer ${apiKey}` };
    const response = await fetch(`${base}${path}`, { method, headers, ...(signal ? { signal } : {}) }).catch(
      (error) => {
        signal?.throwIfAborted();
        const reason = (error as { cause?: Error }).cause?.message ?? (error as Error).message;
        throw new NetworkError(`${url} does not answer: ${reason}`, { cause: error });
      },
    );
    if (!response.ok) throw await refused(response, url);
    return response;
  };
  const json = async <T>(path: string, method?: string): Promise<T> =>
    (await ask(path, method)).json() as Promise<T>;
  const at = (id: string): string => `/${encodeURIComponent(id)}`;
  return {
    async *list() {
      let query = "?limit=100";
      for (;;) {
        const { data, has_more } = await json<JobPage>(query);
        yield* data;
        if (!has_more) return;
        query = `?limit=100&after=${data.at(-1)?.id ?? ""}`;
      }
    },
    get: (id) => json(at(id)),
    act: (id, action) => json(`${at(id)}/${action}`, "POST"),
    async *follow(id) {
      const { body } = await ask(`${at(id)}/events?stream=true`);
      for await (const data of eventData(body)) {
        if (data === "[DONE]") return;
        const event = JSON.parse(data) as EventObject | ErrorBody;
        if ("error" in event) throw new LowrankError(event.error.code ?? "server", event.error.message);
        yield event;
      }
      throw new NetworkError(`${url} ended the stream of events before the job has ended`);
    },
  };
}

async function refused(response: Response, url: string): Promise<LowrankError> {
  const text = await response.text();
  let error: ErrorBody["error"] | null = null;
  try {
    error = (JSON.parse(text) as ErrorBody).error;
  } catch {
    // Not a server of ours.
  }
  const message = `${url}: ${error?.message ?? `answers ${response.status}`}`;
  return response.status === 404
    ? new NotFoundError(message)
    : new LowrankError(error?.code ?? "server", message);
}

/** What stands behind `data: ` in a stream of events. */
async function* eventData(body: ReadableStream<Uint8Array> | null): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const bytes of body ?? []) {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) if (line.startsWith("data: ")) yield line.slice("data: ".length);
  }
}

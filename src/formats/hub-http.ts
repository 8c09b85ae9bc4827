import { HUB_URL } from "@huggingface/hub";
import { InputError, LowrankError, NetworkError, NotFoundError } from "../errors.ts";

/** How the Hub is reached. */
export interface HubAccess {
  /** Default: `HF_ENDPOINT`, else the public Hub. */
  readonly hubUrl?: string | undefined;
  /** Default: `HF_TOKEN`. */
  readonly token?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Longest wait for an answer to begin. Default 5 s: an unreachable Hub is said quickly. */
  readonly answerTimeoutMs?: number | undefined;
  /** Longest wait for the next bytes of a file. Default 30 s. */
  readonly stallTimeoutMs?: number | undefined;
  /** Wait before a broken download is taken up again; doubled each time. Default 500 ms. */
  readonly retryMs?: number | undefined;
}

/** Address of the Hub, without a slash at the end. @throws InputError if it is no address. */
export function hubUrlOf(access: HubAccess): string {
  const url = (access.hubUrl ?? (process.env.HF_ENDPOINT || HUB_URL)).replace(/\/+$/, "");
  if (/^https?:\/\/./.test(url) && URL.canParse(url)) return url;
  throw new InputError("the Hub's address is not one", [
    {
      where: access.hubUrl === undefined ? "HF_ENDPOINT" : "hubUrl",
      message: `expected https://…, got "${url}"`,
    },
  ]);
}

/** `fetch` for one repository: adds the token (for the Hub alone), waits a limited time, and turns every failure
 *  into an error that says what to do, but for the statuses in `answers`.
 *  @throws NetworkError, NotFoundError, LowrankError ("access"). */
export function hubFetch(id: string, access: HubAccess, answers: readonly number[] = []): typeof fetch {
  const hubUrl = hubUrlOf(access);
  const token = access.token ?? (process.env.HF_TOKEN || undefined);
  return async (input, init) => {
    const url = new URL(input instanceof Request ? input.url : input);
    const headers = new Headers(init?.headers);
    if (token !== undefined && url.origin === new URL(hubUrl).origin)
      headers.set("authorization", `Bearer ${token}`);
    const response = await answer(url, { ...init, headers }, access);
    if (!response.ok && !answers.includes(response.status))
      throw await httpError(response, id, hubUrl, token !== undefined);
    return response;
  };
}

/** `hubFetch` for small answers: read whole, so that one that stalls half-way fails as others do. */
export function hubApiFetch(id: string, access: HubAccess, answers: readonly number[] = []): typeof fetch {
  const get = hubFetch(id, access, answers);
  return async (input, init) => {
    const response = await get(input, init);
    const chunks: Uint8Array[] = [];
    for await (const chunk of bodyOf(response, access)) chunks.push(chunk);
    return new Response(Buffer.concat(chunks), { status: response.status, headers: response.headers });
  };
}

/** Error of an aborted operation, as `signal.throwIfAborted` throws it. */
function abortReason(signal: AbortSignal | undefined): unknown {
  return signal?.aborted ? signal.reason : undefined;
}

async function answer(url: URL, init: RequestInit, access: HubAccess): Promise<Response> {
  const waitMs = access.answerTimeoutMs ?? 5000;
  const timer = new AbortController();
  const timeout = setTimeout(() => timer.abort(), waitMs);
  const signals = [timer.signal, ...(access.signal ? [access.signal] : [])];
  try {
    return await fetch(url, { ...init, signal: AbortSignal.any(signals) });
  } catch (error) {
    const reason = abortReason(access.signal);
    if (reason !== undefined) throw reason;
    const why = timer.signal.aborted ? `no answer within ${waitMs / 1000} s` : causeOf(error);
    throw new NetworkError(`cannot reach ${url.host} (${why})`, { cause: error });
  } finally {
    clearTimeout(timeout);
  }
}

function causeOf(error: unknown): string {
  const cause = (error as Error).cause as { code?: string; message?: string } | undefined;
  return cause?.code ?? cause?.message ?? (error as Error).message;
}

/** The body of an answer, chunk by chunk. @throws NetworkError if it breaks off or stalls. */
export async function* bodyOf(response: Response, access: HubAccess): AsyncGenerator<Uint8Array> {
  const reader = response.body?.getReader();
  if (reader === undefined) return;
  const stallMs = access.stallTimeoutMs ?? 30_000;
  try {
    for (;;) {
      const { done, value } = await nextChunk(reader, stallMs);
      if (done) return;
      yield value;
    }
  } catch (error) {
    const reason = abortReason(access.signal);
    if (reason !== undefined) throw reason;
    if (error instanceof LowrankError) throw error;
    throw new NetworkError(`the connection to ${new URL(response.url).host} broke off (${causeOf(error)})`, {
      cause: error,
    });
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

type Chunk =
  | { readonly done: false; readonly value: Uint8Array }
  | { readonly done: true; readonly value?: undefined };

async function nextChunk(reader: { read(): Promise<unknown> }, stallMs: number): Promise<Chunk> {
  let timeout: NodeJS.Timeout | undefined;
  const stall = new Promise<never>((_, reject) => {
    timeout = setTimeout(() => reject(new NetworkError(`no data for ${stallMs / 1000} s`)), stallMs);
  });
  try {
    return (await Promise.race([reader.read(), stall])) as Chunk;
  } finally {
    clearTimeout(timeout);
  }
}

async function httpError(
  response: Response,
  id: string,
  hubUrl: string,
  hasToken: boolean,
): Promise<LowrankError> {
  const { status } = response;
  const code = response.headers.get("x-error-code") ?? "";
  const said = (await response.text().catch(() => "")).slice(0, 300);
  if (code === "GatedRepo" || (status === 403 && /gated|restricted/i.test(said)))
    return new LowrankError(
      "access",
      `${id} is gated: accept its licence at ${hubUrl}/${id}, then set HF_TOKEN to a token of that account`,
    );
  if (status === 401 || status === 403) return deniedError(id, hubUrl, hasToken);
  if (status === 404 || status === 410) return missingError(response, id, code);
  const retry = response.headers.get("retry-after");
  const when = retry === null ? "try again later" : `try again in ${retry} s`;
  return new NetworkError(
    `the Hub answered ${status} for ${id}${status < 500 && status !== 429 ? `: ${said}` : ""}; ${when}`,
  );
}

function deniedError(id: string, hubUrl: string, hasToken: boolean): LowrankError {
  const way = hasToken
    ? "the token in use has no access to it"
    : "for a private or gated one, accept its licence and set HF_TOKEN";
  return new LowrankError(
    "access",
    `${id} does not exist on ${hubUrl}, or is private: check the name; ${way}`,
  );
}

function missingError(response: Response, id: string, code: string): LowrankError {
  const { host, pathname } = new URL(response.url);
  if (code === "RevisionNotFound") return new NotFoundError(`${id} has no such revision on ${host}`);
  if (code === "EntryNotFound") return new NotFoundError(`${id} has no file ${pathname} on ${host}`);
  return new NotFoundError(`${id} does not exist on ${host}`);
}

import { LowrankError, NetworkError, NotFoundError } from "../errors.ts";
import { followable, type HubAddress, hubUrlOf, tokenOf } from "./address.ts";

export { hubUrlOf } from "./address.ts";

/** How the Hub is reached. */
export interface HubAccess extends HubAddress {
  readonly signal?: AbortSignal | undefined;
  /** Longest wait for an answer to begin. Default 5 s: an unreachable Hub is said quickly. */
  readonly answerTimeoutMs?: number | undefined;
  /** Longest wait for the next bytes of a file. Default 30 s. */
  readonly stallTimeoutMs?: number | undefined;
  /** A file that comes with less than 1 kB/s for twice this time is given up. Default 8 s. */
  readonly slowWindowMs?: number | undefined;
  /** Longest time for a small answer, or for all pages of a list. Default 2 minutes. */
  readonly totalTimeoutMs?: number | undefined;
  /** Wait before a broken download is taken up again; doubled each time. Default 500 ms. */
  readonly retryMs?: number | undefined;
}

/** Longest time for a small answer, or for all pages of a list. */
export function totalTimeoutOf({ totalTimeoutMs = 120_000 }: HubAccess): number {
  return totalTimeoutMs;
}

/** Most bytes of a small answer, decompressed. */
const ANSWER_LIMIT_BYTES = 50 * 2 ** 20;
/** Of the text of an error. */
const SAID_LIMIT_BYTES = 4096;
const REDIRECTS = 5;
const LEAST_BYTES_PER_SECOND = 1000;

/** `fetch` for one repository: adds the token (for the Hub alone), waits a limited time, follows redirects as far as they may
 *  be followed, and turns every failure into an error that says what to do, but for the statuses in `answers`.
 *  @throws NetworkError, NotFoundError, LowrankError ("access"). */
export function hubFetch(id: string, access: HubAccess, answers: readonly number[] = []): typeof fetch {
  const hub = new URL(hubUrlOf(access));
  const token = tokenOf(access);
  return async (input, init) => {
    const first = input instanceof Request ? input.url : String(input);
    const response = await follow(followable(first, hub, hub), { ...init }, { hub, token, access });
    if (!response.ok && !answers.includes(response.status))
      throw await httpError(response, id, access, token !== undefined);
    return response;
  };
}

interface Asking {
  readonly hub: URL;
  readonly token: string | undefined;
  readonly access: HubAccess;
}

/** Asks, and goes where it is sent on. */
async function follow(first: URL, init: RequestInit, { hub, token, access }: Asking): Promise<Response> {
  let url = first;
  for (let hops = 0; ; hops++) {
    const headers = headersFor(url, init, hub, token);
    const response = await answer(url, { ...init, headers, redirect: "manual" }, access);
    const location = response.headers.get("location");
    if (location === null || ![301, 302, 303, 307, 308].includes(response.status)) return response;
    await response.body?.cancel().catch(() => undefined);
    if (hops === REDIRECTS) throw new NetworkError(`${hub.host} redirects more than ${REDIRECTS} times`);
    const isRead = ["GET", "HEAD"].includes(init.method ?? "GET");
    if (!isRead && (response.status < 307 || typeof init.body !== "string"))
      throw new NetworkError(
        `${url.host} sends an upload elsewhere (${response.status}), which is not followed`,
      );
    url = followable(location, url, hub);
  }
}

/** The token goes to the Hub, and to nobody else. */
function headersFor(url: URL, init: RequestInit, hub: URL, token: string | undefined): Headers {
  const headers = new Headers(init.headers);
  if (token === undefined) return headers;
  const bearer = `Bearer ${token}`;
  if (url.origin === hub.origin) headers.set("authorization", bearer);
  else if (headers.get("authorization") === bearer) headers.delete("authorization");
  return headers;
}

/** `hubFetch` for small answers: read whole, so that one that stalls half-way fails as others do.
 *  @throws NetworkError for one that is too large or takes too long */
export function hubApiFetch(id: string, access: HubAccess, answers: readonly number[] = []): typeof fetch {
  const get = hubFetch(id, access, answers);
  return async (input, init) => {
    const response = await get(input, init);
    const limits = { limitBytes: ANSWER_LIMIT_BYTES, totalMs: totalTimeoutOf(access) };
    const chunks: Uint8Array[] = [];
    for await (const chunk of bodyOf(response, access, limits)) chunks.push(chunk);
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

/** Bounds of a body. */
export interface BodyLimits {
  /** Most bytes, decompressed. */
  readonly limitBytes?: number;
  /** Longest time from the first byte to the last. */
  readonly totalMs?: number;
}

const TOO_SLOW = new Error("less than the least speed");

/** A download was given up for its speed: trying again at once would not help. */
export function isTooSlow(error: unknown): boolean {
  return error instanceof NetworkError && error.cause === TOO_SLOW;
}

/** The body of an answer, chunk by chunk. @throws NetworkError if it breaks off, stalls, crawls or is beyond its limits. */
export async function* bodyOf(
  response: Response,
  access: HubAccess,
  limits: BodyLimits = {},
): AsyncGenerator<Uint8Array> {
  const reader = response.body?.getReader();
  if (reader === undefined) return;
  const { host } = new URL(response.url);
  const check = bodyCheck(host, access, limits);
  try {
    for (;;) {
      const { done, value } = await nextChunk(reader, access.stallTimeoutMs ?? 30_000);
      if (done) return;
      check(value.length);
      yield value;
    }
  } catch (error) {
    const reason = abortReason(access.signal);
    if (reason !== undefined) throw reason;
    if (error instanceof LowrankError) throw error;
    throw new NetworkError(`the connection to ${host} broke off (${causeOf(error)})`, { cause: error });
  } finally {
    // Not waited for: a body that is cancelled may be as slow to end as it was to come.
    void reader.cancel().catch(() => undefined);
  }
}

/** Counts what arrives. The speed is that of two windows in a row, so that one pause is none. */
function bodyCheck(
  host: string,
  { slowWindowMs = 8000 }: HubAccess,
  { limitBytes = Infinity, totalMs = Infinity }: BodyLimits,
): (bytes: number) => void {
  const startMs = performance.now();
  let [windowMs, inWindow, slowWindows, total] = [startMs, 0, 0, 0];
  return (bytes) => {
    const now = performance.now();
    total += bytes;
    inWindow += bytes;
    if (total > limitBytes)
      throw new NetworkError(`the answer of ${host} is larger than ${limitBytes} bytes`);
    if (now - startMs > totalMs)
      throw new NetworkError(`the answer of ${host} takes longer than ${totalMs / 1000} s`);
    const elapsedMs = now - windowMs;
    if (elapsedMs < slowWindowMs) return;
    slowWindows = inWindow < (LEAST_BYTES_PER_SECOND * elapsedMs) / 1000 ? slowWindows + 1 : 0;
    [windowMs, inWindow] = [now, 0];
    if (slowWindows > 1)
      throw new NetworkError(`${host} sends less than ${LEAST_BYTES_PER_SECOND} bytes a second`, {
        cause: TOO_SLOW,
      });
  };
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

/** What an answer says, on one line and in short. */
async function saidIn(response: Response, access: HubAccess): Promise<string> {
  const chunks: Uint8Array[] = [];
  try {
    for await (const chunk of bodyOf(response, access, { totalMs: 5000 })) {
      chunks.push(chunk.subarray(0, SAID_LIMIT_BYTES));
      if (chunks.reduce((n, { length }) => n + length, 0) >= SAID_LIMIT_BYTES) break;
    }
  } catch {
    // What arrived before it broke off is enough.
  }
  return Buffer.concat(chunks)
    .toString("utf8")
    .replace(/[\s\p{Cc}]+/gu, " ")
    .trim()
    .slice(0, 300);
}

async function httpError(
  response: Response,
  id: string,
  access: HubAccess,
  hasToken: boolean,
): Promise<LowrankError> {
  const hubUrl = hubUrlOf(access);
  const { status } = response;
  const code = response.headers.get("x-error-code") ?? "";
  const said = await saidIn(response, access);
  if (code === "GatedRepo" || (status === 403 && /gated|restricted/i.test(said)))
    return new LowrankError(
      "access",
      `${id} is gated: accept its licence at ${hubUrl}/${id}, then set HF_TOKEN to a token of that account`,
    );
  if (status === 401 || status === 403) return deniedError(id, hubUrl, hasToken);
  if (status === 404 || status === 410) return missingError(response, id, code);
  const retry = /^\d{1,6}$/.exec(response.headers.get("retry-after") ?? "")?.[0];
  const when = retry === undefined ? "try again later" : `try again in ${retry} s`;
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

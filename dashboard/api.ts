/** Requests to the server that this page came from. Addresses are relative, so a proxy may put them below a path. */

const KEY = "lowrank-api-key";

/** An answer that is an error. */
export class ApiError extends Error {
  readonly status: number;
  /** Seconds after which to ask again; null: not said. */
  readonly retryAfter: number | null;
  constructor(status: number, message: string, retryAfter: number | null = null) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

/** The API key; it lasts as long as the tab. */
export function savedKey(): string | null {
  return sessionStorage.getItem(KEY);
}

export function saveKey(key: string | null): void {
  if (key === null) sessionStorage.removeItem(KEY);
  else sessionStorage.setItem(KEY, key);
}

/** Asks. @throws ApiError for answers that are errors, TypeError where the server cannot be reached */
export async function ask(path: string, init: RequestInit = {}): Promise<Response> {
  const key = savedKey();
  const headers = new Headers(init.headers);
  if (key !== null) headers.set("authorization", `Bearer ${key}`);
  const response = await fetch(path, { ...init, headers });
  if (response.ok) return response;
  const body: unknown = await response.json().catch(() => null);
  const message = (body as { error?: { message?: string } } | null)?.error?.message;
  const wait = Number(response.headers.get("retry-after") ?? Number.NaN);
  const said = message ?? `the server answered ${response.status}`;
  throw new ApiError(response.status, said, Number.isFinite(wait) ? wait : null);
}

export async function askJson<T>(path: string, signal: AbortSignal): Promise<T> {
  return (await ask(path, { signal })).json() as Promise<T>;
}

/** Sends a body and reads the answer; both JSON, but a form as it is. @throws as `ask` */
export async function send<T>(path: string, body: FormData | object, signal?: AbortSignal): Promise<T> {
  const content =
    body instanceof FormData
      ? { body }
      : { body: JSON.stringify(body), headers: { "content-type": "application/json" } };
  const response = await ask(path, { method: "POST", ...content, ...(signal && { signal }) });
  return response.json() as Promise<T>;
}

/** What went wrong, in a sentence. */
export function messageOf(error: unknown): string {
  if (error instanceof ApiError) return error.message;
  if (error instanceof TypeError) return "the server cannot be reached";
  return error instanceof Error ? error.message : String(error);
}

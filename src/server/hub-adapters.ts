import { BusyError, LowrankError, NetworkError, NotFoundError } from "../errors.ts";
import type { Engine } from "../generate/engine/engine.ts";
import { shortName } from "../hub/known-models.ts";
import { fetchAdapter, parseHubId } from "../hub/models.ts";
import { type HubOptions, repoFolder } from "../hub/repo.ts";
import { globMatcher } from "../io/glob.ts";
import { parameterTotal } from "../models/base-of.ts";
import { HttpError } from "./errors.ts";
import type { Log } from "./log.ts";

/** Adapters of the Hub that requests may name. */
export interface HubAdapters {
  /** Loads those of some names that nobody knows yet and that may be fetched; others are left as they are.
   *  @throws HttpError 400, 404, 503; BusyError; the signal's reason */
  ready(names: readonly string[], signal: AbortSignal): Promise<void>;
}

export interface HubAdapterOptions {
  /** Which may be fetched: an owner, "owner/name" with * and ?, or "*" for all. */
  readonly allowed: readonly string[];
  readonly engine: Engine;
  readonly baseName: string;
  readonly log: Log;
  /** Where the Hub and its cache are. */
  readonly hub?: HubOptions;
  /** Between a failure and the next try; default 10 s. */
  readonly retryAfterMs?: number;
}

const RETRY_AFTER_MS = 10_000;
/** Fetched at a time; more are told to try again. */
const MOST_AT_ONCE = 4;
/** Fetched by one server, without those that were not there: names are chosen by clients, and disks are full some day. */
const MOST_FETCHED = 256;
/** Failures that are remembered. */
const MOST_FAILURES = 1000;
/** Of a small base, adapters that are larger. */
const LEAST_LIMIT_BYTES = 64 * 2 ** 20;

/** Whether a name is a repository's, "owner/name", that a list allows: no path, no address, no file or revision of one. */
export function isAllowed(name: string, allowed: readonly string[]): boolean {
  const id = parseHubId(name);
  if (id === null || id.name !== name) return false;
  return allowed.some((pattern) => {
    if (pattern === "*") return true;
    return globMatcher(pattern.includes("/") ? pattern : `${pattern}/*`)?.(name) === true;
  });
}

/** Fetches adapters of the Hub when they are asked for by their names. */
export function hubAdapters(options: HubAdapterOptions): HubAdapters {
  const { allowed, engine, baseName, log, hub = {}, retryAfterMs = RETRY_AFTER_MS } = options;
  const underWay = new Map<string, Promise<void>>();
  const failures = new Map<string, { readonly error: HttpError; readonly untilMs: number }>();
  const fetched = new Set<string>();
  // What is larger than all of the base as floats is no adapter of it.
  const limitBytes = Math.max(LEAST_LIMIT_BYTES, 4 * parameterTotal(engine.base.modules));

  const load = async (name: string): Promise<void> => {
    const id = { name, revision: null, file: null };
    try {
      const path = await fetchAdapter(id, { ...hub, limitBytes });
      await engine.loadAdapter(name, path);
      log.info("adapter_loaded", { adapter: name, from: "hub" });
    } catch (error) {
      if (error instanceof NotFoundError || error instanceof NetworkError) fetched.delete(name);
      const failure = failureOf(name, error, repoFolder({ type: "model", name, revision: "main" }, hub));
      log.warn("adapter_failed", { adapter: name, from: "hub", reason: failure.message });
      failures.set(name, { error: failure, untilMs: performance.now() + retryAfterMs });
      for (const old of [...failures.keys()].slice(0, -MOST_FAILURES)) failures.delete(old);
      throw failure;
    }
  };
  const begin = (name: string): Promise<void> => {
    const before = failures.get(name);
    if (before && performance.now() < before.untilMs) throw before.error;
    failures.delete(name);
    if (underWay.size >= MOST_AT_ONCE)
      throw new BusyError(`${MOST_AT_ONCE} adapters are fetched already: try again later`);
    if (!fetched.has(name) && fetched.size >= MOST_FETCHED)
      throw notLoaded(
        400,
        "hub_adapters_full",
        `this server has fetched ${MOST_FETCHED} adapters and takes no more`,
      );
    fetched.add(name);
    const loading = load(name).finally(() => underWay.delete(name));
    loading.catch(() => undefined); // whoever waits is told
    underWay.set(name, loading);
    return loading;
  };

  return {
    ready: async (names, signal) => {
      for (const name of new Set(names)) {
        const isKnown = shortName(name) === baseName || Object.hasOwn(engine.adapters, name);
        if (isKnown || !isAllowed(name, allowed)) continue;
        await within(underWay.get(name) ?? begin(name), signal);
      }
    },
  };
}

/** The work goes on for others when one who waits for it leaves. */
async function within(work: Promise<void>, signal: AbortSignal): Promise<void> {
  let leave = (): void => undefined;
  const gone = new Promise<never>((_, reject) => {
    leave = () => reject(signal.reason);
    signal.addEventListener("abort", leave, { once: true });
    if (signal.aborted) leave();
  });
  try {
    await Promise.race([work, gone]);
  } finally {
    signal.removeEventListener("abort", leave);
  }
}

/** Without the folders of the server. */
function failureOf(name: string, error: unknown, folder: string): HttpError {
  if (error instanceof HttpError) return error;
  const isOurs = error instanceof LowrankError;
  const reason = isOurs ? hidden(error.message, name, folder) : "the server failed; its log says why";
  const message = `the adapter ${name} of the Hub cannot be used: ${reason}`;
  const cause = { cause: error };
  if (error instanceof NotFoundError || (isOurs && error.code === "access"))
    return notLoaded(404, "model_not_found", message, cause);
  if (error instanceof NetworkError) return notLoaded(503, "hub_unreachable", message, cause);
  if (isOurs && error.code === "storage") return notLoaded(507, "insufficient_storage", message, cause);
  return notLoaded(isOurs ? 400 : 500, isOurs ? "adapter_not_usable" : "internal_error", message, cause);
}

function hidden(message: string, name: string, folder: string): string {
  return message
    .replaceAll(folder, name)
    .replaceAll(/[\\/](snapshots[\\/][0-9a-f]{40}|blobs)(?=[\\/:\s]|$)/g, "");
}

function notLoaded(status: number, code: string, message: string, more: { cause?: unknown } = {}): HttpError {
  return new HttpError(status, code, message, {
    ...more,
    param: "model",
    ...(status === 404 ? { type: "not_found_error" as const } : {}),
  });
}

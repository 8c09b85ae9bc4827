import type { Engine } from "../generate/engine/engine.ts";
import type { AccessOptions } from "./access/access.ts";
import type { AdapterLibrary } from "./adapter-library.ts";
import type { HubAdapters } from "./hub-adapters.ts";
import type { Jobs } from "./jobs/jobs.ts";
import { type Log, noLog } from "./log.ts";
import { createMetrics, type Metrics } from "./metrics.ts";

/** Limits of a single request. */
export interface RequestLimits {
  readonly bodyBytes: number;
  /** From its first byte to its last token. */
  readonly requestMs: number;
}

/** What the routes work with. */
export interface ServerParts {
  readonly engine: Engine;
  /** Name of the base in `model`. */
  readonly baseName: string;
  /** Folders that adapters come from; null: none was named. */
  readonly library: AdapterLibrary | null;
  /** Adapters of the Hub that requests may name; null: none. */
  readonly hub: HubAdapters | null;
  /** Files and fine-tuning jobs; null: none are taken. */
  readonly jobs: Jobs | null;
  readonly access: AccessOptions;
  readonly limits: RequestLimits;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Aborted when no new requests are taken. */
  readonly stopping: AbortSignal;
  /** Aborted when those under way have to end. */
  readonly ending: AbortSignal;
}

export const DEFAULT_LIMITS: RequestLimits = { bodyBytes: 4 * 2 ** 20, requestMs: 600_000 };

/** Parts of a server that is reached from this machine alone, without keys. */
export function serverParts(
  given: Pick<ServerParts, "engine" | "baseName"> & Partial<ServerParts>,
): ServerParts {
  return {
    library: null,
    hub: null,
    jobs: null,
    access: { keys: [], origins: [], isLocal: true },
    limits: DEFAULT_LIMITS,
    log: noLog,
    metrics: given.metrics ?? createMetrics(given.engine),
    stopping: new AbortController().signal,
    ending: new AbortController().signal,
    ...given,
  };
}

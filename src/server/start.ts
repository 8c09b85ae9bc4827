import type { Engine } from "../generate/engine/engine.ts";
import { isLoopback } from "./access/access.ts";
import type { ApiKey } from "./access/keys.ts";
import { openLibrary } from "./adapter-library.ts";
import { createApp } from "./app.ts";
import { hubAdapters } from "./hub-adapters.ts";
import { type Jobs, type JobsOptions, openJobs } from "./jobs/jobs.ts";
import { watchJobs } from "./jobs/metrics.ts";
import type { Log } from "./log.ts";
import { DEFAULT_LIMITS, type RequestLimits, serverParts } from "./parts.ts";
import { listen } from "./serve.ts";

/** How an engine is served. */
export interface ServeOptions {
  /** Name of the base in `model`. */
  readonly baseName: string;
  readonly host: string;
  /** 0: one that is free. */
  readonly port: number;
  /** Folders whose adapters are loaded, and followed. */
  readonly adapters: readonly string[];
  /** Adapters of the Hub that requests may name: owners, or patterns of "owner/name". None by default. */
  readonly hubAdapters?: readonly string[];
  /** None: whoever reaches the address may ask. */
  readonly keys: readonly ApiKey[];
  /** Web pages that may ask, by their origin; "*": all. */
  readonly origins: readonly string[];
  /** Fine-tuning jobs; without it none are taken, and nothing is kept. */
  readonly jobs?: Omit<JobsOptions, "baseName">;
  readonly limits?: Partial<RequestLimits>;
  readonly log: Log;
}

/** A server under way. */
export interface StartedServer {
  /** "http://127.0.0.1:8080" */
  readonly url: string;
  /** Takes nothing new, lets what runs end, for at most `graceMs`, and closes. The engine stays open. */
  stop(graceMs: number): Promise<void>;
}

/** Serves an engine over HTTP. @throws LowrankError ("listen") where the address cannot be had, NotFoundError for folders that are not
 *  there */
export async function startServer(engine: Engine, options: ServeOptions): Promise<StartedServer> {
  const { baseName, host, port, adapters: folders, keys, origins, log } = options;
  const hubNames = options.hubAdapters ?? [];
  const [stopping, ending] = [new AbortController(), new AbortController()];
  const library = folders.length === 0 ? null : await openLibrary({ folders, engine, baseName, log });
  let jobs: Jobs | null = null;
  const closeAll = async (): Promise<void> => {
    await Promise.all([library?.close(), jobs?.close()]);
  };
  try {
    if (options.jobs) jobs = await openJobs({ ...options.jobs, baseName }, engine, log);
    const parts = serverParts({
      engine,
      baseName,
      library,
      hub: hubNames.length === 0 ? null : hubAdapters({ allowed: hubNames, engine, baseName, log }),
      jobs,
      access: { keys, origins, isLocal: isLoopback(host) },
      limits: { ...DEFAULT_LIMITS, ...options.limits },
      log,
      stopping: stopping.signal,
      ending: ending.signal,
    });
    if (jobs) watchJobs(jobs, parts.metrics.registry);
    const server = await listen(createApp(parts), { host, port });
    jobs?.queue.wake();
    log.info("listening", { url: server.url, adapters: Object.keys(engine.adapters).length });
    return {
      url: server.url,
      stop: async (graceMs) => {
        stopping.abort();
        const { running, waiting } = engine.status;
        log.info("stopping", { running, waiting, ...jobs?.queue.stopping() });
        // Jobs write their checkpoints while answers end.
        const closing = jobs?.queue.close();
        await library?.close();
        await server.close(graceMs, () => ending.abort());
        await closing;
        await jobs?.close();
        log.info("stopped");
      },
    };
  } catch (error) {
    await closeAll();
    throw error;
  }
}

import { availableParallelism } from "node:os";
import { UnsupportedError } from "../errors.ts";
import { createRuntime, type Runtime } from "./create-runtime.ts";
import { checkDevice, DEFAULT_DEVICE, type Device, deviceSpec } from "./device.ts";
import { graphFiles } from "./graph-file.ts";
import { openThread } from "./thread.ts";

export type { RunOptions } from "./backend.ts";
export type { LoadOptions, Runtime, Session } from "./create-runtime.ts";

/** How to open a runtime. */
export interface RuntimeOptions {
  readonly device?: Device;
  /** Threads of the execution engine; default: all cores. */
  readonly threads?: number | null;
}

/** Starts the execution engine on a worker thread. @throws UnsupportedError if the device cannot be had on this platform, or takes
 *  no number of threads. */
export function openRuntime(options: RuntimeOptions = {}): Runtime {
  const { device = DEFAULT_DEVICE, threads = null } = options;
  checkDevice(device);
  if (threads !== null && !deviceSpec(device).features.threads)
    throw new UnsupportedError(`device "${device}" takes no number of threads, got ${threads}`);
  const count = threads ?? availableParallelism();
  const { lowering } = deviceSpec(device);
  return createRuntime(openThread(device, count), graphFiles(), { device, threads: count, lowering });
}

import { arch, availableParallelism, cpus, freemem, platform, release, totalmem } from "node:os";
import { cacheFolder } from "../io/cache-folder.ts";
import { exists } from "../io/download.ts";
import { bytesBelow } from "../io/folder.ts";
import { ownVersion } from "../io/own-version.ts";
import { type Device, devicesHere } from "../runtime/device.ts";
import { engineVersion } from "../runtime/version.ts";

/** What a report of a defect should say of a machine. Nothing in it is secret: of variables only the names. */
export interface Environment {
  readonly lowrank: string;
  readonly node: string;
  readonly onnxRuntime: string;
  /** `linux x64, 6.1.0` */
  readonly system: string;
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly freeMemoryBytes: number;
  /** That this platform can have; whether their drivers are there is not looked at. */
  readonly devices: readonly Device[];
  readonly cacheFolder: string;
  /** Of all files in it; null where there is none. */
  readonly cacheBytes: number | null;
  /** Names of the variables that are set and that lowrank, its libraries or Node read. */
  readonly variables: readonly string[];
}

const VARIABLES = [
  ...["LOWRANK_CACHE", "HF_HOME", "HF_HUB_CACHE", "HF_ENDPOINT", "HF_TOKEN", "HF_HUB_OFFLINE"],
  ...["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "NO_COLOR", "FORCE_COLOR", "NODE_OPTIONS", "OMP_NUM_THREADS"],
];

/** Looks at the machine and at lowrank's own folders; nothing is loaded or fetched. */
export async function environment(env: NodeJS.ProcessEnv = process.env): Promise<Environment> {
  const folder = cacheFolder();
  return {
    lowrank: ownVersion(),
    node: process.versions.node,
    onnxRuntime: engineVersion(),
    system: `${platform()} ${arch()}, ${release()}`,
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    freeMemoryBytes: freemem(),
    devices: devicesHere(),
    cacheFolder: folder,
    cacheBytes: (await exists(folder)) ? await bytesBelow(folder) : null,
    variables: VARIABLES.filter((name) => env[name] !== undefined),
  };
}

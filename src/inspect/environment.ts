import { readdir, stat } from "node:fs/promises";
import { createRequire } from "node:module";
import { arch, availableParallelism, cpus, freemem, platform, release, totalmem } from "node:os";
import { join } from "node:path";
import { cacheFolder } from "../io/cache-folder.ts";
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
    lowrank: (createRequire(import.meta.url)("../../package.json") as { version: string }).version,
    node: process.versions.node,
    onnxRuntime: engineVersion(),
    system: `${platform()} ${arch()}, ${release()}`,
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    freeMemoryBytes: freemem(),
    devices: devicesHere(),
    cacheFolder: folder,
    cacheBytes: await folderBytes(folder),
    variables: VARIABLES.filter((name) => env[name] !== undefined),
  };
}

async function folderBytes(folder: string): Promise<number | null> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => null);
  if (entries === null) return null;
  const sizes = entries
    .filter((entry) => entry.isFile())
    .map((entry) =>
      stat(join(entry.parentPath, entry.name)).then(
        ({ size }) => size,
        () => 0,
      ),
    );
  return (await Promise.all(sizes)).reduce((a, b) => a + b, 0);
}

import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { type Device, deviceSpec } from "../device.ts";
import type { DeviceNeeds } from "../devices/spec.ts";

const run = promisify(execFile);

/** What a device needs on this machine; undefined where it needs nothing, or nothing is known. */
export function needsHere(device: Device): DeviceNeeds | undefined {
  return deviceSpec(device).needs[`${process.platform}-${process.arch}`];
}

/** Folder of ONNX Runtime's library for Node on this machine. */
export function engineFolder(): string {
  const own = createRequire(import.meta.url);
  const root = dirname(own.resolve("onnxruntime-node/package.json"));
  return join(root, "bin", "napi-v6", process.platform, process.arch);
}

/** Names of the libraries that the system's cache of its loader holds. */
async function cachedLibraries(): Promise<ReadonlySet<string>> {
  for (const command of ["ldconfig", "/sbin/ldconfig"])
    try {
      const { stdout } = await run(command, ["-p"], { timeout: 5000, maxBuffer: 2 ** 24 });
      return new Set(stdout.split("\n").map((line) => line.trim().split(" ")[0] as string));
    } catch {
      // not there, or not allowed: the next
    }
  return new Set();
}

/** What a device needs on this platform and lacks, a sentence for each place where it was looked for. */
export async function missingFiles(device: Device): Promise<readonly string[]> {
  const needs = needsHere(device);
  if (!needs) return [];
  const folder = engineFolder();
  const paths = (process.env.LD_LIBRARY_PATH ?? "").split(":").filter((path) => path !== "");
  const cached = await cachedLibraries();
  const isThere = (name: string): boolean =>
    cached.has(name) || [folder, ...paths].some((path) => existsSync(join(path, name)));
  const beside = needs.besideEngine.filter((name) => !existsSync(join(folder, name)));
  const libraries = needs.libraries.filter((name) => !isThere(name));
  return [
    ...(beside.length > 0 ? [`${folder} lacks ${beside.join(", ")}`] : []),
    ...(libraries.length > 0 ? [`the system has no ${libraries.join(", ")}`] : []),
  ];
}

import { constants } from "node:fs";
import { copyFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { UnsupportedError } from "../../errors.ts";
import { fetchPackaged, packagedPath } from "../../hub/package-source.ts";
import { cacheFolder } from "../../io/cache-folder.ts";
import { storing } from "../../io/disk.ts";
import { exists, hashFile } from "../../io/download.ts";
import type { OnProgress } from "../../io/progress.ts";
import { temporaryPath } from "../../io/temporary.ts";
import { type Device, deviceSpec } from "../device.ts";
import type { DeviceNeeds } from "../devices/spec.ts";
import { engineVersion } from "../version.ts";
import { engineFolder, missingFiles, needsHere } from "./missing.ts";

/** What an installation did, and what the device still lacks. */
export interface Installation {
  readonly files: readonly string[];
  readonly missing: readonly string[];
}

/** How to install; the last four are others in tests. */
export interface InstallOptions {
  readonly onProgress?: OnProgress;
  readonly signal?: AbortSignal;
  readonly needs?: DeviceNeeds;
  readonly folder?: string;
  readonly version?: string;
  readonly fetch?: typeof fetchPackaged;
}

/** Puts a device's provider beside ONNX Runtime's library: pip downloads the package that carries it (nothing of it runs), its files
 *  are verified by size and sha256. @throws UnsupportedError where none is known for this device, machine or version of ONNX Runtime;
 *  NotFoundError without pip or connection; FormatError for other content; LowrankError where the folder cannot be written */
export async function installDevice(device: Device, options: InstallOptions = {}): Promise<Installation> {
  deviceSpec(device);
  const { needs = needsHere(device), folder = engineFolder(), version = engineVersion() } = options;
  if (!needs)
    throw new UnsupportedError(
      `there is nothing to install for device "${device}" on ${process.platform} ${process.arch}`,
    );
  const { engine, content } = needs.carrier;
  if (engine !== version)
    throw new UnsupportedError(
      `the provider of device "${device}" is known for ONNX Runtime ${engine}, and here is ${version}`,
    );
  const cacheDir = cacheFolder();
  const { onProgress, signal, fetch = fetchPackaged } = options;
  await fetch(content, { cacheDir, onProgress, signal });
  const source = packagedPath(content, cacheDir);
  const files: string[] = [];
  for (const { name, sha256 } of content.files) {
    const path = join(folder, name);
    await putInPlace(join(source, name), path, sha256);
    files.push(path);
  }
  return { files, missing: await missingFiles(device) };
}

async function putInPlace(from: string, path: string, sha256: string): Promise<void> {
  if ((await exists(path)) && (await hashFile(path)) === sha256) return;
  const temporary = temporaryPath(path);
  await storing(path, async () => {
    try {
      await copyFile(from, temporary, constants.COPYFILE_FICLONE);
      await rename(temporary, path);
    } finally {
      await rm(temporary, { force: true });
    }
  });
}

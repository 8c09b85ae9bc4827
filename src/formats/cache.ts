import { mkdir } from "node:fs/promises";
import { homedir, platform } from "node:os";
import { dirname, join, resolve } from "node:path";
import writeAtomic from "write-file-atomic";
import { LowrankError } from "../errors.ts";

/** Folder of lowrank's own cache: `override`, else `LOWRANK_CACHE`, else the platform's cache folder. */
export function cacheFolder(override?: string | undefined): string {
  return resolve(override ?? (process.env.LOWRANK_CACHE || join(platformCache(), "lowrank")));
}

function platformCache(): string {
  if (platform() === "darwin") return join(homedir(), "Library", "Caches");
  if (platform() === "win32") return process.env.LOCALAPPDATA || join(homedir(), "AppData", "Local");
  return process.env.XDG_CACHE_HOME || join(homedir(), ".cache");
}

/** Writes a file whole or not at all: temporary name, fsync, rename. Makes the folder.
 *  @throws LowrankError ("storage") if the disk does not take it. */
export async function writeFileAtomic(path: string, content: string | Uint8Array): Promise<void> {
  await storing(path, async () => {
    await mkdir(dirname(path), { recursive: true });
    await writeAtomic(path, typeof content === "string" ? content : Buffer.from(content));
  });
}

const DISK_ERRORS: Readonly<Record<string, string>> = {
  ENOSPC: "no space left on the disk",
  EDQUOT: "the disk quota is used up",
  EACCES: "no permission to write there",
  EPERM: "no permission to write there",
  EROFS: "the disk is read-only",
  EFBIG: "the file is too large for this disk",
  EIO: "the disk failed",
  ENOTDIR: "a part of the path is a file, not a folder",
  EEXIST: "a part of the path is a file, not a folder",
};

/** Runs what writes to `path`; a full or read-only disk and the like become an error that says so.
 *  @throws LowrankError ("storage"). */
export async function storing<T>(path: string, write: () => Promise<T>): Promise<T> {
  try {
    return await write();
  } catch (error) {
    const reason = DISK_ERRORS[(error as NodeJS.ErrnoException).code ?? ""];
    if (reason === undefined || error instanceof LowrankError) throw error;
    throw new LowrankError("storage", `cannot write ${path}: ${reason}`, { cause: error });
  }
}

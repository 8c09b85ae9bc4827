import { homedir, platform } from "node:os";
import { join, resolve } from "node:path";

/** Folder of lowrank's own cache: `override`, else `LOWRANK_CACHE`, else the platform's cache folder. */
export function cacheFolder(override?: string | undefined): string {
  return resolve(override ?? (process.env.LOWRANK_CACHE || join(platformCache(), "lowrank")));
}

function platformCache(): string {
  if (platform() === "darwin") return join(homedir(), "Library", "Caches");
  if (platform() === "win32") return process.env.LOCALAPPDATA || join(homedir(), "AppData", "Local");
  return process.env.XDG_CACHE_HOME || join(homedir(), ".cache");
}

/** Folder of what lowrank keeps for its user: `override`, else `LOWRANK_DATA`, else below the platform's folder for data of users. */
export function dataFolder(override?: string | undefined): string {
  return resolve(override ?? (process.env.LOWRANK_DATA || join(platformData(), "lowrank")));
}

function platformData(): string {
  if (platform() === "darwin") return join(homedir(), "Library", "Application Support");
  if (platform() === "win32") return process.env.LOCALAPPDATA || join(homedir(), "AppData", "Local");
  return process.env.XDG_DATA_HOME || join(homedir(), ".local", "share");
}

import { randomBytes } from "node:crypto";
import { readFileSync, type Stats } from "node:fs";
import { readdir, rm, stat } from "node:fs/promises";
import { hostname } from "node:os";
import { basename, dirname, join } from "node:path";

/** A temporary file untouched for so long counts as given up: who writes one goes on writing, or fails, well within. */
const GIVEN_UP_MS = 600_000;

const HOST = hostname().replace(/[^\w-]/g, "_") || "host";

/** Name beside `path` that nobody else uses, for content that is renamed to `path` when complete. It says which process
 *  of which machine made it, so that what a killed one left can be told from what is being written. */
export function temporaryPath(path: string): string {
  return `${path}.partial.${HOST}.${process.pid}.${randomBytes(4).toString("hex")}`;
}

/** The path that a temporary one, or one by way of another, is to be renamed to; any other as it is. */
export function finalPath(path: string): string {
  return path.replace(/(\.partial\.[\w-]+\.\d+\.[0-9a-f]+)+$/, "");
}

/** Temporary files of `path` that no running process owns, the longest first; a plain `.partial`, which has no owner, is
 *  one of them. */
export async function abandonedPaths(path: string): Promise<string[]> {
  const prefix = `${basename(path)}.partial`;
  const found = await abandonedIn(dirname(path), (name) => name.startsWith(prefix));
  return found.sort((a, b) => b.size - a.size).map((f) => f.path);
}

interface Abandoned {
  readonly path: string;
  readonly size: number;
}

async function abandonedIn(folder: string, isOne: (name: string) => boolean): Promise<Abandoned[]> {
  const names = await readdir(folder).catch(() => []);
  const found: Abandoned[] = [];
  for (const name of names.filter(isOne)) {
    const path = join(folder, name);
    const info = await stat(path).catch(() => null);
    if (info !== null && isAbandoned(name, info)) found.push({ path, size: info.size });
  }
  return found;
}

/** Made by `temporaryPath`, of a name that it made too where one temporary file is written by way of another. */
const TEMPORARY = /\.partial\.([\w-]+)\.(\d+)\.[0-9a-f]+$/;

function isAbandoned(name: string, info: Stats): boolean {
  if (name.endsWith(".partial")) return true;
  const [, host, pid] = TEMPORARY.exec(name) ?? [];
  if (host === undefined) return false;
  if (host === HOST && !isRunning(Number(pid))) return true;
  // A folder's time says nothing of the files that are being written in it.
  return !info.isDirectory() && Date.now() - info.mtimeMs > GIVEN_UP_MS;
}

/** Removes the temporary files and folders of `path` that no running process owns, and what dead processes left beside it; a
 *  plain `.partial`, which a download goes on with, stays. */
export async function removeAbandoned(path: string): Promise<void> {
  await removeLeftovers(dirname(path));
  for (const left of await abandonedPaths(path))
    if (!left.endsWith(".partial")) await rm(left, { recursive: true, force: true }).catch(() => undefined);
}

/** Removes what dead processes of this machine left in a folder, whatever it was to become. */
export async function removeLeftovers(folder: string): Promise<void> {
  const names = await readdir(folder).catch(() => []);
  for (const name of names) {
    const [, host, pid] = TEMPORARY.exec(name) ?? [];
    if (host !== HOST || isRunning(Number(pid))) continue;
    await rm(join(folder, name), { recursive: true, force: true }).catch(() => undefined);
  }
}

/** A process of this machine with this id exists, and has not ended: one whose end nobody has asked for yet is still listed. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
  return !isZombie(pid);
}

/** proc(5): the state follows the name, which may hold parentheses. */
function isZombie(pid: number): boolean {
  try {
    return /^\) [ZX]/.test(readFileSync(`/proc/${pid}/stat`, "latin1").replace(/^.*(?=\))/s, ""));
  } catch {
    return false; // no such file on other systems
  }
}

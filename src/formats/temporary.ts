import { randomBytes } from "node:crypto";
import { readdir, stat } from "node:fs/promises";
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

/** Temporary files of `path` that no running process owns, the longest first; a plain `.partial`, which has no owner, is
 *  one of them. */
export async function abandonedPaths(path: string): Promise<string[]> {
  const prefix = `${basename(path)}.partial`;
  const names = await readdir(dirname(path)).catch(() => []);
  const found: { path: string; size: number }[] = [];
  for (const name of names.filter((n) => n.startsWith(prefix))) {
    const full = join(dirname(path), name);
    const info = await stat(full).catch(() => null);
    if (info !== null && isAbandoned(name.slice(prefix.length), info.mtimeMs))
      found.push({ path: full, size: info.size });
  }
  return found.sort((a, b) => b.size - a.size).map((f) => f.path);
}

function isAbandoned(suffix: string, mtimeMs: number): boolean {
  if (suffix === "") return true;
  const [, host, pid] = /^\.([\w-]+)\.(\d+)\.[0-9a-f]+$/.exec(suffix) ?? [];
  if (host === undefined) return false;
  return Date.now() - mtimeMs > GIVEN_UP_MS || (host === HOST && !isRunning(Number(pid)));
}

/** A process of this machine with this id exists. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

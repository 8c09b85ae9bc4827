import { link, unlink, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { TrainingError } from "../errors.ts";
import { readBytes } from "../io/disk.ts";
import { makeFolder, readFolder } from "../io/folder.ts";
import { ownIdentity, type ProcessIdentity, processState } from "./process.ts";

const NAME = /^lock\.(\d+)$/;

/** Gives the run folder back; safe to call twice. */
export type ReleaseLock = () => Promise<void>;

/** Takes a run folder for this process, at once where the process that held it is gone (also after kill -9).
 *
 *  The lock is a file `lock.<n>`; the highest n holds. A taker creates n + 1 exclusively, so of two that find the
 *  same dead holder one wins; and it looks again afterwards, so that one who slept between looking and creating
 *  steps back. Lower numbers are removed only by a holder.
 *  @throws TrainingError if a live process holds the folder */
export async function lockRunFolder(folder: string): Promise<ReleaseLock> {
  await makeFolder(folder);
  const identity = JSON.stringify(await ownIdentity());
  for (;;) {
    const holder = await currentHolder(folder);
    if (holder && (await isHeld(folder, holder))) throw await inUse(folder, holder);
    const mine = (holder ?? 0) + 1;
    if (!(await createExclusively(lockPath(folder, mine), identity))) continue;
    if ((await currentHolder(folder)) === mine) return held(folder, mine);
    await remove(lockPath(folder, mine));
  }
}

/** Whether a process holds a run folder; one that cannot be looked up from here counts as living. */
export async function isRunHeld(folder: string): Promise<boolean> {
  const holder = await currentHolder(folder);
  return holder !== null && (await isHeld(folder, holder));
}

async function held(folder: string, mine: number): Promise<ReleaseLock> {
  for (const lower of await generations(folder)) if (lower < mine) await remove(lockPath(folder, lower));
  return () => remove(lockPath(folder, mine));
}

function lockPath(folder: string, generation: number): string {
  return join(folder, `lock.${generation}`);
}

async function generations(folder: string): Promise<number[]> {
  const names = await readFolder(folder);
  return names.flatMap((name) => NAME.exec(name)?.[1] ?? []).map(Number);
}

async function currentHolder(folder: string): Promise<number | null> {
  const all = await generations(folder);
  return all.length > 0 ? Math.max(...all) : null;
}

/** Whether the holder lives. A lock that vanishes while it is read was released. */
async function isHeld(folder: string, generation: number): Promise<boolean> {
  const identity = await readIdentity(folder, generation);
  return identity !== null && (await processState(identity)) !== "gone";
}

async function inUse(folder: string, generation: number): Promise<TrainingError> {
  const identity = await readIdentity(folder, generation);
  const path = lockPath(folder, generation);
  if (identity && (await processState(identity)) === "unknown")
    return new TrainingError(
      `${folder} is in use by process ${identity.pid} on ${identity.host}, which cannot be looked up from ` +
        `${hostname()}; if that process is gone, delete ${path}`,
    );
  const who = identity?.pid === process.pid ? "this process" : `process ${identity?.pid ?? "unknown"}`;
  return new TrainingError(
    `${folder} is in use by ${who}; wait for it to end, or choose another output folder`,
  );
}

/** Who made a lock; null where it was released meanwhile or holds nothing readable (a power failure). */
async function readIdentity(folder: string, generation: number): Promise<ProcessIdentity | null> {
  for (let attempt = 0; attempt < 3; attempt++) {
    const bytes = await readBytes(lockPath(folder, generation)).catch(() => null);
    if (bytes === null) return null;
    try {
      return JSON.parse(new TextDecoder().decode(bytes)) as ProcessIdentity;
    } catch {
      await setTimeout(100); // without hard links a lock is empty for a moment
    }
  }
  return null;
}

/** Creates a file with its content in one step (a hard link), so that nobody reads it half-written; false if it
 *  exists. Where the file system has no hard links, an exclusive write comes nearest. */
async function createExclusively(path: string, content: string): Promise<boolean> {
  const draft = `${path}.${process.pid}.${Math.random().toString(36).slice(2)}`;
  try {
    await writeFile(draft, content);
    await link(draft, path).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "EEXIST") throw error;
      return writeFile(path, content, { flag: "wx" });
    });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  } finally {
    await remove(draft);
  }
}

async function remove(path: string): Promise<void> {
  await unlink(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw error;
  });
}

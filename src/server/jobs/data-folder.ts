import { existsSync } from "node:fs";
import { chmod, readdir, rename, rm, writeFile } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { LowrankError, TrainingError } from "../../errors.ts";
import { storing } from "../../io/disk.ts";
import { makeFolder } from "../../io/folder.ts";
import { lockRunFolder, type ReleaseLock } from "../../train/lock.ts";
import { type Database, openDatabase } from "./database.ts";
import { type EventStore, eventStore } from "./event-store.ts";
import { type FileRow, type FileStore, fileStore } from "./file-store.ts";
import { type JobStore, jobStore } from "./job-store.ts";
import { newId } from "./paging.ts";

/** What a server keeps: a database, uploaded files, and a folder for each run. */
export interface DataFolder {
  readonly path: string;
  readonly files: FileStore;
  readonly jobs: JobStore;
  readonly events: EventStore;
  /** Where uploads lie, finished and not. */
  readonly filesPath: string;
  filePath(file: Pick<FileRow, "id" | "extension">): string;
  runPath(jobId: string): string;
  /** Removes a folder so that it is there whole or not at all, whatever happens meanwhile. */
  discard(path: string): Promise<void>;
  /** Keeps files from being deleted while work is under way that a job will follow from. */
  holding<T>(fileIds: readonly (string | null | undefined)[], work: () => Promise<T>): Promise<T>;
  /** Whether a job that has not ended, or work under way, needs a file. */
  needsFile(fileId: string): boolean;
  /** Changes that are made together, or not at all. */
  atomically<T>(work: () => T): T;
  /** Sets some bytes aside, so that on a full disk there is room to write down that a job has failed. */
  keepRoom(): Promise<void>;
  /** Gives them up. */
  makeRoom(): Promise<void>;
  close(): Promise<void>;
}

const RESERVE_BYTES = 2 ** 20;
/** What is being removed: moved here at once, and deleted then. */
const DISCARDED = "discarded";

/** Opens a folder for this server alone, and removes what a killed server had not finished writing.
 *  @throws LowrankError ("data_folder") where another server has it; ("storage") */
export async function openDataFolder(folder: string): Promise<DataFolder> {
  const path = resolve(folder);
  const [filesPath, runsPath] = [join(path, "files"), join(path, "runs")];
  const discardedPath = join(path, DISCARDED);
  const isNew = !existsSync(path);
  const release = await storing(path, async () => {
    await makeFolder(filesPath);
    await makeFolder(runsPath);
    await makeFolder(discardedPath);
    // Training data are nobody else's business.
    if (isNew) await chmod(path, 0o700);
    return lock(path);
  });
  try {
    const db = await openDatabase(join(path, "jobs.db"));
    const opened = stores(db, path, filesPath, runsPath, release);
    await removeUnknown(opened);
    await opened.keepRoom();
    return opened;
  } catch (error) {
    await release();
    throw error;
  }
}

function stores(
  db: Database,
  path: string,
  filesPath: string,
  runsPath: string,
  release: ReleaseLock,
): DataFolder {
  const reserve = join(path, "reserve");
  const held = new Map<string, number>();
  const jobs = jobStore(db);
  const hold = (id: string, by: number): void => {
    const count = (held.get(id) ?? 0) + by;
    if (count > 0) held.set(id, count);
    else held.delete(id);
  };
  return {
    path,
    holding: async (fileIds, work) => {
      const ids = fileIds.filter((id) => typeof id === "string");
      for (const id of ids) hold(id, 1);
      try {
        return await work();
      } finally {
        for (const id of ids) hold(id, -1);
      }
    },
    needsFile: (id) => held.has(id) || jobs.usesFile(id),
    filesPath,
    files: fileStore(db),
    jobs,
    events: eventStore(db),
    filePath: ({ id, extension }) => join(filesPath, `${id}${extension}`),
    runPath: (jobId) => join(runsPath, jobId),
    discard: (from) => discard(from, join(path, DISCARDED)),
    atomically: (work) => db.transaction(work),
    // A disk that has no room for it now has told so to whoever writes.
    keepRoom: () => writeFile(reserve, Buffer.alloc(RESERVE_BYTES)).catch(() => undefined),
    makeRoom: () => rm(reserve, { force: true }),
    close: async () => {
      db.close();
      await release();
    },
  };
}

async function lock(path: string): Promise<ReleaseLock> {
  return lockRunFolder(path).catch((error) => {
    if (!(error instanceof TrainingError)) throw error;
    const message = `--data-dir: ${error.message.replace(/; wait for .*$/, "")}; one server works with a folder, --data-dir names another`;
    throw new LowrankError("data_folder", message, { cause: error });
  });
}

async function discard(path: string, discardedPath: string): Promise<void> {
  const moved = join(discardedPath, newId(basename(path)));
  const isThere = await rename(path, moved).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return false;
      throw error;
    },
  );
  if (isThere) await rm(moved, { recursive: true, force: true });
}

/** Files of no upload that was answered for, and runs that were deleted: nobody else writes here. */
async function removeUnknown({ path, files, filesPath, jobs, runPath, discard }: DataFolder): Promise<void> {
  for (const name of await readdir(join(path, DISCARDED)))
    await rm(join(path, DISCARDED, name), { recursive: true, force: true });
  for (const { id } of jobs.deleted()) await discard(runPath(id));
  const known = new Set(files.all().map(({ id, extension }) => `${id}${extension}`));
  for (const name of await readdir(filesPath))
    if (!known.has(name)) await rm(join(filesPath, name), { recursive: true, force: true });
}

import { existsSync } from "node:fs";
import { chmod, readdir, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { LowrankError, TrainingError } from "../../errors.ts";
import { storing } from "../../io/disk.ts";
import { makeFolder } from "../../io/folder.ts";
import { lockRunFolder, type ReleaseLock } from "../../train/lock.ts";
import { type Database, openDatabase } from "./database.ts";
import { type EventStore, eventStore } from "./event-store.ts";
import { type FileRow, type FileStore, fileStore } from "./file-store.ts";
import { type JobStore, jobStore } from "./job-store.ts";

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
  /** Changes that are made together, or not at all. */
  atomically<T>(work: () => T): T;
  /** Sets some bytes aside, so that on a full disk there is room to write down that a job has failed. */
  keepRoom(): Promise<void>;
  /** Gives them up. */
  makeRoom(): Promise<void>;
  close(): Promise<void>;
}

const RESERVE_BYTES = 2 ** 20;

/** Opens a folder for this server alone, and removes what a killed server had not finished writing.
 *  @throws LowrankError ("data_folder") where another server has it; ("storage") */
export async function openDataFolder(folder: string): Promise<DataFolder> {
  const path = resolve(folder);
  const [filesPath, runsPath] = [join(path, "files"), join(path, "runs")];
  const isNew = !existsSync(path);
  const release = await storing(path, async () => {
    await makeFolder(filesPath);
    await makeFolder(runsPath);
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
  return {
    path,
    filesPath,
    files: fileStore(db),
    jobs: jobStore(db),
    events: eventStore(db),
    filePath: ({ id, extension }) => join(filesPath, `${id}${extension}`),
    runPath: (jobId) => join(runsPath, jobId),
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

/** Files of no upload that was answered for: nobody else writes here. */
async function removeUnknown({ files, filesPath }: DataFolder): Promise<void> {
  const known = new Set(files.all().map(({ id, extension }) => `${id}${extension}`));
  for (const name of await readdir(filesPath))
    if (!known.has(name)) await rm(join(filesPath, name), { recursive: true, force: true });
}

import { rm } from "node:fs/promises";
import { HttpError } from "../errors.ts";
import type { Log } from "../log.ts";
import type { DataFolder } from "./data-folder.ts";
import type { FileRow } from "./file-store.ts";

const SWEEP_MS = 60_000;

export function noFile(id: string): HttpError {
  return new HttpError(404, "file_not_found", `there is no file ${JSON.stringify(id)}`, {
    type: "not_found_error",
  });
}

/** Forgets a file. @throws HttpError 404, 409 where a job needs it */
export async function deleteFile(id: string, folder: DataFolder): Promise<void> {
  const file = folder.files.get(id);
  if (file === null) throw noFile(id);
  if (folder.needsFile(id))
    throw new HttpError(409, "file_in_use", `a job that has not ended needs the file ${id}`);
  await remove(file, folder);
}

/** A file that stays on disk after this is none that the server knows: its next start removes it. */
async function remove(file: FileRow, { files, filePath }: DataFolder): Promise<void> {
  files.delete(file.id);
  await rm(filePath(file), { force: true });
}

/** Deletes files whose time is over, now and every minute; those that a job still needs when it has ended. Returns what stops it. */
export function deleteExpired(folder: DataFolder, log: Log): () => Promise<void> {
  let underWay = Promise.resolve();
  const sweep = (): void => {
    underWay = underWay
      .then(async () => {
        for (const file of folder.files.expired()) if (!folder.needsFile(file.id)) await remove(file, folder);
      })
      .catch((error: Error) => log.error("file_not_deleted", { reason: error.message }));
  };
  sweep();
  const timer = setInterval(sweep, SWEEP_MS).unref();
  return () => {
    clearInterval(timer);
    return underWay;
  };
}

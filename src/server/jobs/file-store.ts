import type { Database } from "./database.ts";
import { nowSeconds, type Page, type PageRequest, pageOf } from "./paging.ts";

/** An uploaded file. */
export interface FileRow {
  readonly id: string;
  readonly filename: string;
  /** With the dot: what reads it. */
  readonly extension: string;
  readonly purpose: string;
  readonly bytes: number;
  /** Seconds since 1970. */
  readonly created_at: number;
}

/** Uploaded files; deleted ones are known to the jobs that used them alone. */
export interface FileStore {
  add(file: Omit<FileRow, "created_at">): FileRow;
  get(id: string): FileRow | null;
  list(page: PageRequest, purpose?: string): Page<FileRow>;
  delete(id: string): void;
  /** Every file that is not deleted. */
  all(): readonly FileRow[];
}

export function fileStore(db: Database): FileStore {
  const get = (id: string): FileRow | null =>
    db.one<FileRow>("SELECT * FROM files WHERE id = ? AND deleted_at IS NULL", id);
  return {
    get,
    add: ({ id, filename, extension, purpose, bytes }) => {
      const insert =
        "INSERT INTO files (id, filename, extension, purpose, bytes, created_at) VALUES (?, ?, ?, ?, ?, ?)";
      db.run(insert, id, filename, extension, purpose, bytes, nowSeconds());
      return get(id) as FileRow;
    },
    list: (page, purpose) => {
      const isOne = purpose === undefined ? "" : " AND purpose = ?";
      const sql = `deleted_at IS NULL${isOne}`;
      return pageOf(db, "files", { sql, values: purpose === undefined ? [] : [purpose] }, page);
    },
    delete: (id) => void db.run("UPDATE files SET deleted_at = ? WHERE id = ?", nowSeconds(), id),
    all: () => db.all<FileRow>("SELECT * FROM files WHERE deleted_at IS NULL"),
  };
}

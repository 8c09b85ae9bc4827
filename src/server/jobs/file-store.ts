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
  /** From then on it may be deleted; null: never. */
  readonly expires_at: number | null;
}

/** A file that the store does not know yet. */
export type NewFile = Omit<FileRow, "created_at" | "expires_at">;

/** Uploaded files; deleted ones are known to the jobs that used them alone. */
export interface FileStore {
  /** `lifetimeSeconds` null: it stays until somebody deletes it. */
  add(file: NewFile, lifetimeSeconds?: number | null): FileRow;
  get(id: string): FileRow | null;
  list(page: PageRequest, purpose?: string): Page<FileRow>;
  delete(id: string): void;
  /** Files whose time is over, and that are not deleted. */
  expired(): readonly FileRow[];
  /** Every file that is not deleted. */
  all(): readonly FileRow[];
}

export function fileStore(db: Database): FileStore {
  const get = (id: string): FileRow | null =>
    db.one<FileRow>("SELECT * FROM files WHERE id = ? AND deleted_at IS NULL", id);
  return {
    get,
    add: ({ id, filename, extension, purpose, bytes }, lifetimeSeconds = null) => {
      const now = nowSeconds();
      const expiry = lifetimeSeconds === null ? null : now + lifetimeSeconds;
      const insert =
        "INSERT INTO files (id, filename, extension, purpose, bytes, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?)";
      db.run(insert, id, filename, extension, purpose, bytes, now, expiry);
      return get(id) as FileRow;
    },
    list: (page, purpose) => {
      const isOne = purpose === undefined ? "" : " AND purpose = ?";
      const sql = `deleted_at IS NULL${isOne}`;
      return pageOf(db, "files", { sql, values: purpose === undefined ? [] : [purpose] }, page);
    },
    delete: (id) => void db.run("UPDATE files SET deleted_at = ? WHERE id = ?", nowSeconds(), id),
    expired: () =>
      db.all<FileRow>("SELECT * FROM files WHERE deleted_at IS NULL AND expires_at <= ?", nowSeconds()),
    all: () => db.all<FileRow>("SELECT * FROM files WHERE deleted_at IS NULL"),
  };
}

import { randomBytes } from "node:crypto";
import { refusal } from "../body.ts";
import type { Database, SqlValue } from "./database.ts";

/** A part of a list, as OpenAI's clients ask for the next one. */
export interface PageRequest {
  /** Id of the last entry of the page before. */
  readonly after?: string | undefined;
  readonly limit: number;
  readonly order: "asc" | "desc";
}

export interface Page<T> {
  readonly rows: readonly T[];
  readonly hasMore: boolean;
}

/** Rows of a table that fulfil a condition, in the order in which they were made. @throws HttpError 400 for an `after` that is none */
export function pageOf<T>(
  db: Database,
  table: "files" | "jobs" | "events" | "checkpoints",
  condition: { readonly sql: string; readonly values: readonly SqlValue[] },
  { after, limit, order }: PageRequest,
): Page<T> {
  const { sql, values } = condition;
  const from = after === undefined ? null : numberOf(db, table, after);
  const beyond = from === null ? "" : `AND number ${order === "asc" ? ">" : "<"} ?`;
  const rows = db.all<T>(
    `SELECT * FROM ${table} WHERE ${sql} ${beyond} ORDER BY number ${order === "asc" ? "ASC" : "DESC"} LIMIT ?`,
    ...values,
    ...(from === null ? [] : [from]),
    limit + 1,
  );
  return { rows: rows.slice(0, limit), hasMore: rows.length > limit };
}

function numberOf(db: Database, table: string, id: string): number {
  const row = db.one<{ number: number }>(`SELECT number FROM ${table} WHERE id = ?`, id);
  if (row === null) throw refusal([{ where: "after", message: "expected the id of an entry of this list" }]);
  return row.number;
}

/** An id that nobody can guess. */
export function newId(prefix: string): string {
  return `${prefix}-${randomBytes(12).toString("hex")}`;
}

/** Seconds since 1970. */
export function nowSeconds(): number {
  return Math.floor(Date.now() / 1000);
}

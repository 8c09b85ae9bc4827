import type Libsql from "libsql";
import { LowrankError, UnsupportedError } from "../../errors.ts";
import { MIGRATIONS } from "./migrations.ts";

export type SqlValue = string | number | null;

/** A file of tables. */
export interface Database {
  /** Rows that were changed. */
  run(sql: string, ...values: SqlValue[]): number;
  /** Rows as their columns say; the caller knows their type. */
  all<T>(sql: string, ...values: SqlValue[]): T[];
  /** The first row; null where there is none. */
  one<T>(sql: string, ...values: SqlValue[]): T | null;
  /** All of the work, or nothing. */
  transaction<T>(work: () => T): T;
  close(): void;
}

/** Opens a database and brings its tables up to date.
 *  @throws UnsupportedError where the driver has no build for this platform; LowrankError ("storage"), or ("data_folder") for one of a
 *  newer version */
export async function openDatabase(path: string): Promise<Database> {
  const Driver = await importDriver();
  const db = explained(() => new Driver(path));
  const statements = new Map<string, Libsql.Statement<SqlValue[]>>();
  const prepared = (sql: string): Libsql.Statement<SqlValue[]> => {
    const known = statements.get(sql) ?? db.prepare<SqlValue[]>(sql);
    statements.set(sql, known);
    return known;
  };
  const all = <T>(sql: string, ...values: SqlValue[]): T[] =>
    explained(() => prepared(sql).all(...values) as T[]);
  const database: Database = {
    all,
    run: (sql, ...values) => explained(() => prepared(sql).run(...values).changes),
    one: <T>(sql: string, ...values: SqlValue[]) => all<T>(sql, ...values)[0] ?? null,
    transaction: (work) => explained(() => transaction(db, work)),
    close: () => void db.close(),
  };
  explained(() => {
    // A power failure loses nothing that was answered for: FULL is the default, said here because WAL is often set with NORMAL.
    for (const pragma of ["journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"]) db.pragma(pragma);
    migrate(db, path);
  });
  return database;
}

/** Loaded only where jobs are kept: it has builds for most platforms, not for all. */
async function importDriver(): Promise<typeof Libsql> {
  try {
    return (await import("libsql")).default;
  } catch (error) {
    const reason = (error as Error).message.split("\n")[0];
    throw new UnsupportedError(
      `fine-tuning jobs need libsql, which does not load here (${reason}); --max-jobs 0 serves without them`,
    );
  }
}

function migrate(db: InstanceType<typeof Libsql>, path: string): void {
  const [row] = db.prepare("PRAGMA user_version").all() as { user_version: number }[];
  const version = row?.user_version ?? 0;
  if (version > MIGRATIONS.length)
    throw new LowrankError(
      "data_folder",
      `${path} was made by a newer lowrank (version ${version} of its tables, this one knows ${MIGRATIONS.length})`,
    );
  MIGRATIONS.slice(version).forEach((sql, i) => {
    transaction(db, () => db.exec(`${sql}; PRAGMA user_version = ${version + i + 1};`));
  });
}

/** The driver's own `transaction` hides why one could not be ended. */
function transaction<T>(db: Libsql.Database, work: () => T): T {
  db.exec("BEGIN IMMEDIATE");
  try {
    const result = work();
    db.exec("COMMIT");
    return result;
  } catch (error) {
    // A full disk has rolled it back already.
    if (db.inTransaction) db.exec("ROLLBACK");
    throw error;
  }
}

const STORAGE: Readonly<Record<string, string>> = {
  SQLITE_FULL: "no space left on the disk",
  SQLITE_READONLY: "it is read-only",
  SQLITE_CANTOPEN: "it cannot be opened",
  SQLITE_NOTADB: "it is not a database",
  SQLITE_CORRUPT: "it is damaged",
};

/** Runs what uses the database; of a full disk and the like it says so. */
function explained<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    const code = String((error as { code?: unknown }).code ?? "");
    const key = Object.keys(STORAGE).find((name) => code.startsWith(name));
    const reason =
      key === undefined && code.startsWith("SQLITE_IOERR") ? "the disk failed" : STORAGE[key ?? ""];
    if (reason === undefined) throw error;
    throw new LowrankError("storage", `the database of jobs: ${reason}`, { cause: error });
  }
}

import type { Storage } from "../io/storage/storage.ts";
import type { DataRecord } from "./formats/format.ts";
import type { NoteList } from "./notes.ts";
import type { Where } from "./place.ts";
import type { ProblemList } from "./problems.ts";

/** One record and its place. */
export interface SourceRecord {
  readonly record: DataRecord;
  readonly where: Where;
}

/** Where the files of records are. */
export type RecordFiles = Pick<Storage, "open" | "size">;

/** What a reader needs: where to note problems, and the limits. */
export interface ReadContext {
  /** Where files are opened. */
  readonly files: RecordFiles;
  /** Faults of files. */
  readonly problems: ProblemList;
  /** What nobody would expect of records. */
  readonly notes: NoteList;
  readonly maxLineBytes: number;
  readonly textUnit: "file" | "paragraph" | "line";
  onBytes(count: number): void;
  /** Notes a record that cannot be read. */
  bad(where: Where, message: string): void;
}

/** Reads one file's records; faults of the file go to `context.problems`, never into an exception. */
export type RecordReader = (file: string, context: ReadContext) => AsyncGenerator<SourceRecord>;

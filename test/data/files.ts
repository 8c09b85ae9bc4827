import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { onTestFinished } from "vitest";
import type { DataRecord } from "../../src/data/formats/format.ts";
import { noteList, noteText } from "../../src/data/notes.ts";
import { problemList } from "../../src/data/problems.ts";
import { type ReadOptions, readRecords } from "../../src/data/records.ts";
import { pathStorage } from "../../src/io/storage/disk-storage.ts";

/** A folder that is gone after the test. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "lowrank-data-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Writes files into a new folder and gives the folder. */
export function writeFiles(files: Readonly<Record<string, string | Uint8Array>>): string {
  const folder = temporaryFolder();
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), content);
  }
  return folder;
}

/** What reading one file gave: records as [line, record], problems as "name:line: message". */
export interface Read {
  readonly records: readonly (readonly [number, DataRecord])[];
  readonly problems: readonly string[];
  readonly count: number;
  readonly notes: readonly string[];
}

/** Reads a file of the given name and content. */
export async function readContent(
  name: string,
  content: string | Uint8Array,
  options: Partial<ReadOptions> = {},
): Promise<Read> {
  const folder = writeFiles({ [name]: content });
  return readPath(join(folder, name), options);
}

/** Reads an existing file. */
export async function readPath(path: string, options: Partial<ReadOptions> = {}): Promise<Read> {
  const problems = problemList();
  const records: [number, DataRecord][] = [];
  const notes = noteList();
  for await (const { record, where } of readRecords(
    [path],
    problems,
    { files: pathStorage, ...options },
    notes,
  ))
    records.push([where.line, record]);
  const short = (text: string): string => text.replaceAll(`${dirname(path)}/`, "");
  const shown = problems.first.map(({ where, message }) => short(`${where}: ${message}`));
  return { records, problems: shown, count: problems.count, notes: notes.notes().map(noteText).map(short) };
}

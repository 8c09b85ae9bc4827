import { InputError, type Problem } from "../errors.ts";
import { permutation, random } from "../tensor/random.ts";
import { badRows } from "./bad-rows.ts";
import { type Duplicates, digestList, findDuplicates } from "./duplicates.ts";
import type { DataFormat, FieldMapping } from "./formats/format.ts";
import { describeUndetected, detectFormat, FIELD_NAMES, findFormat } from "./formats/table.ts";
import { indicesWhere } from "./indexed.ts";
import { type DataNote, type NoteList, noteList, noteText } from "./notes.ts";
import { formatWhere } from "./place.ts";
import { type ProblemList, problemList } from "./problems.ts";
import { type ReadOptions, readRecords } from "./records.ts";
import { rowStore, rowsAt } from "./row-store.ts";
import type { Rows } from "./rows.ts";
import { LONG_WORK_BYTES, type RowWork } from "./visit-rows.ts";

type Nullable<T> = { readonly [K in keyof T]: T[K] | null };

/** How to read; what is left out or null has its default. */
export interface RowsOptions extends Partial<Nullable<FieldMapping>>, ReadOptions, RowWork {
  /** Share of the training rows set apart for validation, in [0, 1); default 0. Chosen by `seed`. */
  readonly validationFraction?: number | undefined;
  /** Default 0. */
  readonly seed?: number | undefined;
  /** Name of a data format; default: by the first record. */
  readonly format?: string | null | undefined;
  /** At most so many rows of each split: the first ones. */
  readonly limit?: number | null | undefined;
}

/** The files of a data set, by what they are for. */
export interface SourceFiles {
  /** For run names and model cards. */
  readonly name: string;
  /** On the Hub, without the revision; absent for files and bundled data. */
  readonly hubId?: string;
  readonly train: readonly string[];
  readonly validation: readonly string[];
  readonly test: readonly string[];
  /** What the source itself says about its records. */
  readonly format?: string;
  readonly mapping?: FieldMapping;
}

/** A data set read and parsed. */
export interface Dataset {
  readonly name: string;
  /** Of its training rows' sources, those that are on the Hub. */
  readonly hubIds: readonly string[];
  /** Name of the data format. */
  readonly format: string;
  readonly train: Rows;
  readonly validation: Rows;
  readonly test: Rows;
  readonly duplicates: Duplicates;
  /** What nobody would expect of the records, rows that were left out among it. */
  readonly notes: readonly DataNote[];
}

/** Reads and parses the files of a data set, and splits it.
 *  @throws InputError with the first ten problems (file and line) and their count. */
export async function readDataset(
  files: SourceFiles,
  options: RowsOptions,
  hubIds: readonly string[] = [],
): Promise<Dataset> {
  const problems = problemList();
  const notes = noteList();
  const reader = rowReader(files, options, problems, notes);
  const train = await reader.read(files.train);
  const validation = await reader.read(files.validation);
  const test = await reader.read(files.test);
  problems.throwIfAny("The data cannot be used");
  const split = validation.rows.length > 0 ? { train, validation } : splitRows(train, options);
  return {
    name: files.name,
    hubIds,
    format: reader.format()?.name ?? "",
    train: split.train.rows,
    validation: split.validation.rows,
    test: test.rows,
    notes: notes.notes(),
    duplicates: findDuplicates(split.train.digests, split.validation.digests, test.digests),
  };
}

/** @throws InputError for options that do not hold */
export function checkRowsOptions({
  validation = null,
  validationFraction = 0,
  limit = null,
}: Pick<RowsOptions, "validationFraction" | "limit"> & { readonly validation?: unknown }): void {
  const problems: Problem[] = [];
  if (!(validationFraction >= 0 && validationFraction < 1))
    problems.push({
      where: "validationFraction",
      message: `expected a share in [0, 1), got ${validationFraction}`,
    });
  if (validation !== null && validationFraction > 0)
    problems.push({ where: "validationFraction", message: "validation rows are given already" });
  if (limit !== null && !(Number.isInteger(limit) && limit > 0))
    problems.push({ where: "limit", message: `expected a positive integer, got ${limit}` });
  if (problems.length > 0) throw new InputError("Invalid data options", problems);
}

/** The rows of one split, and digests by which equal ones are known. */
interface ReadRows {
  readonly rows: Rows;
  readonly digests: BigUint64Array;
}

/** Reads rows of files; the format is settled by the first record of the first file. */
function rowReader(
  files: SourceFiles,
  options: RowsOptions,
  problems: ProblemList,
  notes: NoteList,
): { read(files: readonly string[]): Promise<ReadRows>; format(): DataFormat | null } {
  const mapping = mergeMapping(options, files.mapping);
  const name = options.format ?? files.format;
  let format = name === undefined ? null : findFormat(name);
  let isChecked = false;
  const { limit = null } = options;
  const read = async (paths: readonly string[]): Promise<ReadRows> => {
    const rows = rowStore(options.spill ?? null);
    const digests = digestList();
    const progress = await readProgress(paths, options);
    const onBytes = (count: number): void => {
      options.onBytes?.(count);
      progress.add(count);
    };
    let dropped = 0;
    const faultsAt = badRows(options.onBadRow ?? null, problems, notes, () => dropped++);
    for await (const { record, where } of readRecords(paths, problems, { ...options, onBytes }, notes)) {
      options.signal?.throwIfAborted();
      format ??= detectFormat(record, mapping);
      if (format === null) {
        problems.add(formatWhere(where), describeUndetected(record));
        break;
      }
      if (!isChecked)
        for (const { where: key, message } of fieldsWithoutEffect(options, format))
          problems.add(key, message);
      isChecked = true;
      const faults = faultsAt(where);
      const row = format.parse(record, mapping, faults.report);
      if (row === null) faults.settle();
      else {
        const json = JSON.stringify(row);
        digests.add(json);
        rows.append(json, where);
      }
      if (limit !== null && rows.length >= limit) break;
    }
    progress.end();
    if (rows.length === 0 && dropped > 0 && problems.count === 0)
      problems.add(
        paths.join(", "),
        `no row is left of ${dropped}: ${notes.notes().map(noteText).join("; ")}`,
      );
    return { rows, digests: digests.values() };
  };
  return { read, format: () => format };
}

/** Tells how much of some files is read, if they are large. */
async function readProgress(
  paths: readonly string[],
  { onProgress, files }: RowsOptions,
): Promise<{ add(bytes: number): void; end(): void }> {
  const sizes = await Promise.all(paths.map(async (path) => (await files.size(path)) ?? 0)); // missing: the reader says so
  const totalBytes = sizes.reduce((a, b) => a + b, 0);
  let doneBytes = 0;
  const tell = (): void => {
    if (totalBytes >= LONG_WORK_BYTES) onProgress?.({ what: "reading data", doneBytes, totalBytes });
  };
  return {
    add: (bytes) => {
      doneBytes = Math.min(totalBytes, doneBytes + bytes);
      tell();
    },
    end: () => {
      doneBytes = totalBytes;
      tell();
    },
  };
}

/** Fields that are named and that a format does not read. */
function fieldsWithoutEffect(options: RowsOptions, { name, fields }: DataFormat): Problem[] {
  return FIELD_NAMES.filter((key) => (options[key] ?? null) !== null && !fields.includes(key)).map((key) => ({
    where: key,
    message: `has no effect: the format of the data is ${name}, which has ${fields.join(", ")}`,
  }));
}

/** What the user names wins over what the data set says of itself. */
function mergeMapping(options: RowsOptions, own: FieldMapping = {}): FieldMapping {
  const template = options.promptTemplate;
  return {
    promptField: options.promptField ?? own.promptField,
    completionField: options.completionField ?? own.completionField,
    systemField: options.systemField ?? own.systemField,
    promptTemplate: template ?? ((options.promptField ?? null) === null ? own.promptTemplate : undefined),
    messagesField: options.messagesField ?? own.messagesField,
    referencesField: options.referencesField ?? own.referencesField,
    textField: options.textField ?? own.textField,
    pairField: options.pairField ?? own.pairField,
    labelField: options.labelField ?? own.labelField,
  };
}

interface TrainSplit {
  readonly train: ReadRows;
  readonly validation: ReadRows;
}

/** Sets a seeded choice of rows apart; both parts keep the order of the file. */
function splitRows(all: ReadRows, options: RowsOptions): TrainSplit {
  const { validationFraction = 0, seed = 0 } = options;
  const { length } = all.rows;
  if (validationFraction === 0) return { train: all, validation: part(all, new Int32Array(0)) };
  if (length < 2) {
    const message = `cannot split ${length} row${length === 1 ? "" : "s"} into training and validation`;
    throw new InputError("Invalid data options", [{ where: "validationFraction", message }]);
  }
  const count = Math.min(length - 1, Math.max(1, Math.round(length * validationFraction)));
  const isChosen = new Uint8Array(length);
  for (const i of permutation(length, random(seed, "validation split")).subarray(0, count)) isChosen[i] = 1;
  return {
    train: part(
      all,
      indicesWhere(isChosen, (chosen) => chosen === 0),
    ),
    validation: part(
      all,
      indicesWhere(isChosen, (chosen) => chosen === 1),
    ),
  };
}

function part({ rows, digests }: ReadRows, indices: Int32Array): ReadRows {
  return {
    rows: rowsAt(rows, indices),
    digests: BigUint64Array.from(indices, (i) => digests[i] as bigint),
  };
}

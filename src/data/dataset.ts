import { stat } from "node:fs/promises";
import { InputError, type Problem } from "../errors.ts";
import type { HubOptions } from "../hub/repo.ts";
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
import { type FetchDataset, resolveSource, type SourceFiles } from "./sources.ts";
import { LONG_WORK_BYTES, type RowWork } from "./visit-rows.ts";

type Nullable<T> = { readonly [K in keyof T]: T[K] | null };

/** What to read; what is left out or null has its default. */
export interface DatasetOptions extends Partial<Nullable<FieldMapping>>, ReadOptions, RowWork {
  /** Bundled name, file, folder or Hub id; or several of them, one after the other. */
  readonly source: string | readonly string[];
  /** Rows to validate on, as a source. Without it: the source's own validation files, else `validationFraction`. */
  readonly validation?: string | readonly string[] | null | undefined;
  /** Rows to test on, as a source. Without it: the source's own test files. */
  readonly test?: string | readonly string[] | null | undefined;
  /** Share of the training rows set apart for validation, in [0, 1); default 0. Chosen by `seed`. */
  readonly validationFraction?: number | undefined;
  /** Default 0. */
  readonly seed?: number | undefined;
  /** Name of a data format; default: by the first record. */
  readonly format?: string | null | undefined;
  /** At most so many rows of each split: the first ones. */
  readonly limit?: number | null | undefined;
  /** Configuration of a Hub data set that has several. */
  readonly subset?: string | undefined;
  /** How the Hub is reached. */
  readonly hub?: HubOptions | undefined;
  /** Replaces the download from the Hub. */
  readonly fetchDataset?: FetchDataset | undefined;
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

/** Finds, reads and parses a data set, and splits it.
 *  @throws InputError with the first ten problems (file and line) and their count.
 *  @throws NotFoundError if a source is not there. */
export async function loadDataset(options: DatasetOptions): Promise<Dataset> {
  checkOptions(options);
  const files = await resolveSplits(options);
  const problems = problemList();
  const notes = noteList();
  const reader = rowReader(files, options, problems, notes);
  const train = await reader.read(files.train);
  const validation = await reader.read(files.validation);
  const test = await reader.read(files.test);
  problems.throwIfAny("The data cannot be used");
  const split = validation.rows.length > 0 ? { train, validation } : splitRows(train, options);
  const { name, hubIds } = files;
  return {
    name,
    hubIds,
    format: reader.format()?.name ?? "",
    train: split.train.rows,
    validation: split.validation.rows,
    test: test.rows,
    notes: notes.notes(),
    duplicates: findDuplicates(split.train.digests, split.validation.digests, test.digests),
  };
}

function checkOptions({ validation = null, validationFraction = 0, limit = null }: DatasetOptions): void {
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

const asList = (source: string | readonly string[]): readonly string[] =>
  typeof source === "string" ? [source] : source;

async function resolveSplits(
  options: DatasetOptions,
): Promise<SourceFiles & { readonly hubIds: readonly string[] }> {
  const fetchDataset = options.fetchDataset ?? hubFetcher(options);
  const resolve = (source: string | readonly string[]): Promise<SourceFiles[]> =>
    Promise.all(asList(source).map((one) => resolveSource(one, fetchDataset)));
  const everyFile = (sources: readonly SourceFiles[]): string[] =>
    sources.flatMap((source) => [...source.train, ...source.validation, ...source.test]);
  const sources = await resolve(options.source);
  const given = (source: string | readonly string[] | null | undefined): Promise<SourceFiles[]> | null =>
    source === null || source === undefined ? null : resolve(source);
  const validation = await given(options.validation);
  const test = await given(options.test);
  return {
    ...sources[0],
    name: sources.map((source) => source.name).join("+"),
    hubIds: sources.flatMap((source) => source.hubId ?? []),
    train: sources.flatMap((source) => source.train),
    validation: validation ? everyFile(validation) : sources.flatMap((source) => source.validation),
    test: test ? everyFile(test) : sources.flatMap((source) => source.test),
  };
}

/** The Hub's client is loaded only when it is needed. */
function hubFetcher({ subset, hub }: DatasetOptions): FetchDataset {
  return async (id) => {
    const { fetchDataset } = await import("../hub/dataset.ts");
    return fetchDataset(id, { ...hub, subset });
  };
}

/** The rows of one split, and digests by which equal ones are known. */
interface ReadRows {
  readonly rows: Rows;
  readonly digests: BigUint64Array;
}

/** Reads rows of files; the format is settled by the first record of the first file. */
function rowReader(
  files: SourceFiles,
  options: DatasetOptions,
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
  { onProgress }: DatasetOptions,
): Promise<{ add(bytes: number): void; end(): void }> {
  const sizeOf = async (path: string): Promise<number> => (await stat(path).catch(() => null))?.size ?? 0; // missing: the reader says so
  const sizes = await Promise.all(paths.map(sizeOf));
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
function fieldsWithoutEffect(options: DatasetOptions, { name, fields }: DataFormat): Problem[] {
  return FIELD_NAMES.filter((key) => (options[key] ?? null) !== null && !fields.includes(key)).map((key) => ({
    where: key,
    message: `has no effect: the format of the data is ${name}, which has ${fields.join(", ")}`,
  }));
}

/** What the user names wins over what the data set says of itself. */
function mergeMapping(options: DatasetOptions, own: FieldMapping = {}): FieldMapping {
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
function splitRows(all: ReadRows, options: DatasetOptions): TrainSplit {
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

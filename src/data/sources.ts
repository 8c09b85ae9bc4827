import { readdir, stat } from "node:fs/promises";
import { basename, extname, join, relative, sep } from "node:path";
import { NotFoundError } from "../errors.ts";
import type { HubDataset } from "../hub/dataset.ts";
import { BUNDLED_NAMES, findBundled } from "./bundled.ts";
import { packagedPath } from "./packaged-path.ts";
import type { SourceFiles } from "./read-dataset.ts";
import { dataExtensions } from "./records.ts";

/** Fetches a data set of the Hub. */
export type FetchDataset = (id: string) => Promise<HubDataset>;

const HUB_ID = /^[\w.-]+\/[\w.-]+(@[\w./-]+)?$/;

/** Finds what a source means: a file or folder, else the name of a bundled data set, else a Hub id (owner/name).
 *  In a folder, files or subfolders called train…, validation… (valid, val, dev) and test… are those splits.
 *  @throws NotFoundError if it is none of these. */
export async function resolveSource(source: string, fetchDataset: FetchDataset): Promise<SourceFiles> {
  const kind = await pathKind(source);
  if (kind === "file") return { ...noFiles(basename(source, extname(source))), train: [source] };
  if (kind === "folder") return folderFiles(source, basename(source));
  const bundled = findBundled(source);
  if (bundled !== undefined) {
    const { name, format, mapping, files } = bundled;
    const validation = files.validation === undefined ? [] : [packagedPath(files.validation)];
    return {
      name,
      format,
      mapping,
      train: [packagedPath(files.train)],
      validation,
      test: [packagedPath(files.test)],
    };
  }
  if (HUB_ID.test(source) && !isDataFile(source)) return hubFiles(await fetchDataset(source), source);
  const names = BUNDLED_NAMES.join(", ");
  throw new NotFoundError(
    `No data "${source}": it is no file or folder here, no bundled data set (${names}), and no Hub id (owner/name)`,
  );
}

function noFiles(name: string): SourceFiles {
  return { name, train: [], validation: [], test: [] };
}

async function pathKind(path: string): Promise<"file" | "folder" | null> {
  const found = await stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT" || error.code === "ENOTDIR") return null;
    throw new NotFoundError(`${path} cannot be opened: ${error.message}`, { cause: error });
  });
  if (found === null) return null;
  return found.isDirectory() ? "folder" : "file";
}

async function folderFiles(folder: string, name: string): Promise<SourceFiles> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries
    .filter((entry) => !entry.isDirectory()) // links count: the Hub's cache is made of them
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((file) => isDataFile(file) && !isHidden(folder, file))
    .sort();
  if (files.length === 0)
    throw new NotFoundError(`The folder ${folder} holds no data files (${dataExtensions.join(", ")})`);
  const of = (split: Split | null): string[] =>
    files.filter((file) => splitOf(relative(folder, file)) === split);
  // Where files are named after splits, the others are descriptions; where none is, all are training data.
  const train = of("train").length > 0 ? of("train") : of(null);
  return { name, train, validation: of("validation"), test: of("test") };
}

/** The splits of these names, else the first that starts so (`train_sft`); a split of another name is not used. */
function hubFiles({ folder, files }: HubDataset, name: string): SourceFiles {
  const of = (split: Split): string[] => {
    const names = files.map((file) => file.split);
    const chosen = names.includes(split) ? split : names.find((candidate) => splitOf(candidate) === split);
    return files.filter((file) => file.split === chosen).map((file) => join(folder, file.path));
  };
  const train = of("train");
  const splits = [...new Set(files.map((file) => file.split))].join(", ");
  if (train.length === 0) throw new NotFoundError(`${name} has no split for training; it has: ${splits}`);
  const hubId = name.replace(/@.*$/, "");
  return { name, hubId, train, validation: of("validation"), test: of("test") };
}

function isDataFile(path: string): boolean {
  return dataExtensions.includes(extname(path).toLowerCase());
}

function isHidden(folder: string, file: string): boolean {
  return relative(folder, file)
    .split(sep)
    .some((part) => part.startsWith("."));
}

type Split = "train" | "validation" | "test";

const SPLIT_NAMES: ReadonlyMap<string, Split> = new Map([
  ["train", "train"],
  ["training", "train"],
  ["validation", "validation"],
  ["valid", "validation"],
  ["val", "validation"],
  ["dev", "validation"],
  ["test", "test"],
  ["testing", "test"],
  ["eval", "test"],
  ["evaluation", "test"],
]);

/** The split a relative path names in its file name or a folder's: `train-00000-of-00001.parquet`, `test/0.jsonl`. */
function splitOf(path: string): Split | null {
  const words = path.split(sep).map((part) => part.split(/[-_.]/, 1)[0]?.toLowerCase() ?? "");
  return words.map((word) => SPLIT_NAMES.get(word) ?? null).findLast((split) => split !== null) ?? null;
}

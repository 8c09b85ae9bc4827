import { parse } from "yaml";
import { FormatError, InputError, UnsupportedError } from "../errors.ts";
import { GLOB_LIMIT, globMatcher } from "../io/glob.ts";
import { isObject, kindOf } from "../io/json.ts";

/** A data file of a repository. */
export interface DataFile {
  /** Relative to the repository, with "/". */
  readonly path: string;
  /** "train", "validation", "test", or a name that the data set's card gives. */
  readonly split: string;
  readonly format: DataFormat;
}

export type DataFormat = "jsonl" | "json" | "csv" | "parquet";

const FORMATS: Readonly<Record<string, DataFormat>> = {
  jsonl: "jsonl",
  ndjson: "jsonl",
  json: "json",
  csv: "csv",
  parquet: "parquet",
};

/** Words in a path that name a split, as the Hub reads them; the first row that matches counts. */
const SPLIT_WORDS: readonly (readonly [string, RegExp])[] = [
  ["validation", /(^|[^a-z])(validation|valid|val|dev)([^a-z]|$)/i],
  ["test", /(^|[^a-z])(test|testing|eval|evaluation)([^a-z]|$)/i],
  ["train", /(^|[^a-z])(train|training)([^a-z]|$)/i],
];

/** Split that a file's name (or else its folders) speaks of; "train" if it speaks of none. */
export function guessSplit(path: string): string {
  const parts = path.split("/").reverse();
  for (const part of parts)
    for (const [split, words] of SPLIT_WORDS) if (words.test(part.replace(/\.\w+$/, ""))) return split;
  return "train";
}

interface Selection {
  readonly subset?: string | undefined;
  readonly splits?: readonly string[] | undefined;
}

/** The data files of a repository with their splits: as its card (README.md) declares them, else by their names. Of
 *  several formats of the same data the one with most files is taken.
 *  @throws InputError for an unknown subset or split; FormatError for a card with a pattern that is none; UnsupportedError if there is no file in a known format. */
export function selectDataFiles(
  name: string,
  paths: readonly string[],
  readme: string | null,
  { subset, splits }: Selection,
): DataFile[] {
  const data = paths.filter((path) => formatOf(path) !== null && !isMetadata(path)).sort();
  if (data.length === 0) {
    const kinds = [...new Set(paths.map((p) => /\.\w+$/.exec(p)?.[0] ?? p))].join(", ");
    throw new UnsupportedError(
      `${name} has no jsonl, json, csv or parquet file; it has: ${kinds || "nothing"}`,
    );
  }
  const files = declaredFiles(name, data, readme, subset) ?? guessedFiles(name, data, subset);
  const known = [...new Set(files.map((f) => f.split))];
  const unknown = (splits ?? []).filter((split) => !known.includes(split));
  if (unknown.length > 0)
    throw new InputError(
      `${name} has the splits: ${known.join(", ")}`,
      unknown.map((split) => ({ where: "split", message: `"${split}" is not one of them` })),
    );
  return splits === undefined ? files : files.filter((f) => splits.includes(f.split));
}

function formatOf(path: string): DataFormat | null {
  return FORMATS[/\.(\w+)$/.exec(path)?.[1]?.toLowerCase() ?? ""] ?? null;
}

/** Files that describe the data set, rather than hold it. */
function isMetadata(path: string): boolean {
  return /(^|\/)(dataset_infos?|dataset_dict|state|config|package(-lock)?)\.json$|(^|\/)\./.test(path);
}

function toFile(path: string, split: string): DataFile {
  return { path, split, format: formatOf(path) as DataFormat };
}

function guessedFiles(name: string, data: readonly string[], subset: string | undefined): DataFile[] {
  const inSubset =
    subset === undefined ? data : data.filter((p) => p.split("/").slice(0, -1).includes(subset));
  if (inSubset.length === 0) throw subsetError(name, subset ?? "", [...new Set(data.map(topFolder))]);
  const counts = new Map<DataFormat, number>();
  for (const path of inSubset) {
    const format = formatOf(path) as DataFormat;
    counts.set(format, (counts.get(format) ?? 0) + 1);
  }
  const [common] = [...counts].sort((a, b) => b[1] - a[1])[0] as [DataFormat, number];
  return inSubset.filter((p) => formatOf(p) === common).map((p) => toFile(p, guessSplit(p)));
}

function topFolder(path: string): string {
  return path.includes("/") ? path.slice(0, path.indexOf("/")) : ".";
}

function subsetError(name: string, subset: string, known: readonly string[]): InputError {
  return new InputError(`${name} has the subsets: ${known.join(", ")}`, [
    { where: "subset", message: subset === "" ? "name one of them" : `"${subset}" is not one of them` },
  ]);
}

interface CardConfig {
  readonly name: string;
  readonly isDefault: boolean;
  readonly dataFiles: unknown;
}

/** `configs` of the card's front matter. */
function cardConfigs(readme: string | null): CardConfig[] {
  const front = /^---\r?\n([\s\S]*?)\r?\n---/.exec(readme ?? "")?.[1];
  if (front === undefined) return [];
  let card: unknown;
  try {
    card = parse(front);
  } catch {
    return []; // a card that is not YAML declares nothing; names are guessed
  }
  const configs = isObject(card) && Array.isArray(card.configs) ? card.configs.filter(isObject) : [];
  return configs
    .filter((c) => c.data_files !== undefined)
    .map((c) => ({
      name: String(c.config_name ?? "default"),
      isDefault: c.default === true,
      dataFiles: c.data_files,
    }));
}

/** Files that the card declares for a subset; null if it declares none. */
function declaredFiles(
  name: string,
  data: readonly string[],
  readme: string | null,
  subset: string | undefined,
): DataFile[] | null {
  const configs = cardConfigs(readme);
  if (configs.length === 0) return null;
  const chosen =
    subset !== undefined
      ? configs.find((c) => c.name === subset)
      : (configs.find((c) => c.isDefault) ??
        configs.find((c) => c.name === "default") ??
        (configs.length === 1 ? configs[0] : undefined));
  if (chosen === undefined)
    throw subsetError(
      name,
      subset ?? "",
      configs.map((c) => c.name),
    );
  return splitPatterns(chosen.dataFiles).flatMap(({ split, patterns }) => {
    const matchers = patterns.map((pattern) => matcherOf(name, pattern));
    return data
      .filter((path) => matchers.some((matches) => matches(path)))
      .map((path) => toFile(path, split ?? guessSplit(path)));
  });
}

/** `data_files`: a pattern, a list of patterns, or a list of { split, path }. */
function splitPatterns(dataFiles: unknown): { split: string | null; patterns: string[] }[] {
  const list: unknown[] = Array.isArray(dataFiles) ? dataFiles : [dataFiles];
  return list.map((item) =>
    isObject(item)
      ? { split: String(item.split ?? "train"), patterns: [item.path].flat().map(String) }
      : { split: null, patterns: [String(item)] },
  );
}

/** @throws FormatError for a pattern that cannot be read */
function matcherOf(name: string, pattern: string): (path: string) => boolean {
  const matcher = globMatcher(pattern);
  if (matcher) return matcher;
  throw new FormatError(
    `${name}: README.md`,
    `data_files: ${kindOf(pattern)} is no pattern of paths of at most ${GLOB_LIMIT} characters`,
  );
}

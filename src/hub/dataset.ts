import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { InputError, NetworkError } from "../errors.ts";
import { readBytesIfThere } from "../io/disk.ts";
import { SMALL_FILE_BYTES } from "../io/limits.ts";
import { type DataFile, selectDataFiles } from "./dataset-files.ts";
import {
  cachedSnapshot,
  type HubOptions,
  type HubRepo,
  isOffline,
  offlineError,
  openRemote,
} from "./repo.ts";

/** A data set's files on disk. */
export interface HubDataset {
  /** Folder that the files' paths start from. */
  readonly folder: string;
  readonly files: readonly DataFile[];
}

/** Which part of a data set. */
export interface DatasetOptions extends HubOptions {
  /** Configuration ("subset") of the data set where it has several. */
  readonly subset?: string | undefined;
  /** Only these splits; default all. */
  readonly splits?: readonly string[] | undefined;
  /** Refuse to fetch more than this. Default 20 GB. */
  readonly maxBytes?: number | undefined;
}

const DATASET_ID = /^([\w][\w.-]*(?:\/[\w][\w.-]*)?)(?:@([\w][\w./-]*))?$/;

/** Fetches a data set `org/name[@revision]` from the Hub: its jsonl, json, csv or parquet files with their splits.
 *  Without network, what the cache holds of it.
 *  @throws as `fetchModel`; InputError for an unknown subset or split, or too much data. */
export async function fetchDataset(id: string, options: DatasetOptions = {}): Promise<HubDataset> {
  const [, name, revision] = DATASET_ID.exec(id) ?? [];
  if (name === undefined || id.includes(".."))
    throw new InputError("not a data set", [
      { where: id, message: "expected org/name or org/name@revision" },
    ]);
  const repo: HubRepo = { type: "dataset", name, revision: revision ?? options.revision ?? "main" };
  if (isOffline(options)) return fromCache(repo, options, offlineError(repo, "its data files", options));
  try {
    return await fromHub(repo, options);
  } catch (error) {
    if (!(error instanceof NetworkError)) throw error;
    return fromCache(repo, options, error);
  }
}

async function fromHub(repo: HubRepo, options: DatasetOptions): Promise<HubDataset> {
  const remote = await openRemote(repo, options);
  const paths = [...remote.files.keys()];
  if (paths.includes("README.md")) await remote.fetch(["README.md"], SMALL_FILE_BYTES);
  const files = selectDataFiles(repo.name, paths, await readmeOf(remote.folder), options);
  const size = files.reduce((sum, f) => sum + (remote.files.get(f.path)?.size ?? 0), 0);
  const limit = options.maxBytes ?? 20e9;
  if (size > limit)
    throw new InputError(`${repo.name} is too large to fetch`, [
      { where: `${files.length} files`, message: `${gigabytes(size)}, the limit is ${gigabytes(limit)}` },
    ]);
  await remote.fetch(files.map((f) => f.path));
  await remote.finish();
  return { folder: remote.folder, files };
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(1)} GB`;
}

/** @throws `otherwise` if the cache holds none of it. */
async function fromCache(repo: HubRepo, options: DatasetOptions, otherwise: Error): Promise<HubDataset> {
  const folder = await cachedSnapshot(repo, options);
  if (folder === null) throw otherwise;
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries
    .filter((e) => !e.isDirectory())
    .map((e) =>
      join(e.parentPath, e.name)
        .slice(folder.length + 1)
        .replaceAll("\\", "/"),
    );
  return { folder, files: selectDataFiles(repo.name, paths, await readmeOf(folder), options) };
}

async function readmeOf(folder: string): Promise<string | null> {
  const bytes = await readBytesIfThere(join(folder, "README.md"));
  return bytes && new TextDecoder().decode(bytes);
}

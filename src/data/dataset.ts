import type { HubOptions } from "../hub/repo.ts";
import { pathStorage } from "../io/storage/disk-storage.ts";
import {
  checkRowsOptions,
  type Dataset,
  type RowsOptions,
  readDataset,
  type SourceFiles,
} from "./read-dataset.ts";
import { type FetchDataset, resolveSource } from "./sources.ts";

export type { Dataset } from "./read-dataset.ts";

/** What to read; what is left out or null has its default. */
export interface DatasetOptions extends Omit<RowsOptions, "files"> {
  /** Bundled name, file, folder or Hub id; or several of them, one after the other. */
  readonly source: string | readonly string[];
  /** Rows to validate on, as a source. Without it: the source's own validation files, else `validationFraction`. */
  readonly validation?: string | readonly string[] | null | undefined;
  /** Rows to test on, as a source. Without it: the source's own test files. */
  readonly test?: string | readonly string[] | null | undefined;
  /** Configuration of a Hub data set that has several. */
  readonly subset?: string | undefined;
  /** How the Hub is reached. */
  readonly hub?: HubOptions | undefined;
  /** Replaces the download from the Hub. */
  readonly fetchDataset?: FetchDataset | undefined;
}

/** Finds, reads and parses a data set, and splits it.
 *  @throws InputError with the first ten problems (file and line) and their count.
 *  @throws NotFoundError if a source is not there. */
export async function loadDataset(options: DatasetOptions): Promise<Dataset> {
  checkRowsOptions(options);
  const { hubIds, ...files } = await resolveSplits(options);
  return readDataset(files, { ...options, files: pathStorage }, hubIds);
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

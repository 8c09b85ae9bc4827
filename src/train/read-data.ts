import { loadDataset } from "../data/dataset.ts";
import type { DataOptions, HoldOutOptions } from "../data/options.ts";
import type { Dataset } from "../data/read-dataset.ts";
import type { RowWork } from "../data/visit-rows.ts";
import type { HubOptions } from "../hub/repo.ts";

/** How data sets are fetched and held. */
export type DataAccess = Pick<HubOptions, "offline"> & RowWork;

/** Reads the data sets of a choice. @throws InputError with file and line of every problem */
export function readData(
  choice: DataOptions,
  holdOut: Partial<HoldOutOptions & { readonly seed: number }> = {},
  access: DataAccess = {},
): Promise<Dataset> {
  const { offline, spill, onProgress, signal } = access;
  return loadDataset({
    ...choice,
    source: choice.data,
    validation: holdOut.validationData,
    test: holdOut.testData,
    validationFraction: holdOut.validationFraction,
    seed: holdOut.seed,
    ...{ spill, onProgress, signal, hub: { offline, onProgress, signal } },
  });
}

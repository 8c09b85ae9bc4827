import { type Dataset, type RowsOptions, readDataset, type SourceFiles } from "../data/read-dataset.ts";
import type { RecordFiles } from "../data/record.ts";
import { dataExtensions, extensionOf } from "../data/records.ts";
import { InputError, NotFoundError } from "../errors.ts";
import type { Storage } from "../io/storage/storage.ts";

/** The files of rows to learn from and to judge by. */
export interface PageData {
  readonly data: Storage;
  readonly validationData?: Storage | undefined;
  readonly testData?: Storage | undefined;
}

type Split = "train" | "validation" | "test";

/** Reads and parses rows. @throws InputError with file and line of every problem */
export async function readPageData(
  { data, validationData, testData }: PageData,
  options: Omit<RowsOptions, "files">,
): Promise<Dataset> {
  const splits = new Map<Split, Storage>([["train", data]]);
  if (validationData) splits.set("validation", validationData);
  if (testData) splits.set("test", testData);
  const { files, opened } = await filesOf(splits);
  return readDataset(files, { ...options, files: opened });
}

/** The files of every split by names that none shares with another. */
async function filesOf(
  splits: ReadonlyMap<Split, Storage>,
): Promise<{ readonly files: SourceFiles; readonly opened: RecordFiles }> {
  const places = new Map<string, { readonly storage: Storage; readonly name: string }>();
  const names: Record<Split, string[]> = { train: [], validation: [], test: [] };
  for (const [split, storage] of splits)
    for (const name of await dataNames(storage)) {
      const own = places.has(name) ? `${split}/${name}` : name;
      places.set(own, { storage, name });
      names[split].push(own);
    }
  const [first = "data"] = names.train;
  const place = (name: string): { readonly storage: Storage; readonly name: string } => {
    const found = places.get(name);
    if (found === undefined) throw new NotFoundError(`${name}: no such file`);
    return found;
  };
  return {
    files: { name: first.replace(/\.\w+$/, ""), ...names },
    opened: {
      size: (name) => place(name).storage.size(place(name).name),
      open: async (name) => ({ ...(await place(name).storage.open(place(name).name)), path: name }),
    },
  };
}

/** @throws InputError where a storage holds no file of rows */
async function dataNames(storage: Storage): Promise<string[]> {
  const all = await storage.list();
  const names = all.filter((name) => dataExtensions.includes(extensionOf(name))).sort();
  if (names.length > 0) return names;
  const message = `holds no data files (${dataExtensions.join(", ")}), it holds: ${all.join(", ") || "nothing"}`;
  throw new InputError("The data cannot be used", [{ where: storage.path || "data", message }]);
}

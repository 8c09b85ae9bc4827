import type { ModelSource } from "../formats/model.ts";
import type { Storage } from "../io/storage/storage.ts";
import type { WeightSpec } from "./family.ts";
import {
  type ConvertOptions,
  checkWeights,
  keyOf,
  layoutOf,
  type WeightFile,
  weightsIn,
  writeWeights,
} from "./weight-layout.ts";
import type { WeightStorage } from "./weight-storage.ts";

/** The file of a model's weights, kept as `storages` say, in a storage: converted where it is not there yet. The storage keeps several
 *  models side by side; its files are named by their content.
 *  @throws InputError as `checkWeights`, before anything is converted; FormatError naming the first weight with NaN or infinite values;
 *  LowrankError ("storage") if the storage does not take it; the signal's reason */
export async function openStoredWeights(
  source: ModelSource,
  specs: readonly WeightSpec[],
  storage: Storage,
  { storages, ...options }: ConvertOptions & { readonly storages: ReadonlyMap<string, WeightStorage> },
): Promise<WeightFile & { readonly fileName: string }> {
  const layout = layoutOf(specs, storages);
  const fingerprint = await source.fingerprint();
  const fileName = `${keyOf(fingerprint, layout)}.weights`;
  if ((await storage.size(fileName)) !== layout.sizeBytes) {
    const entries = checkWeights(source, specs);
    await storage.write(fileName, (write) => writeWeights(write, entries, layout, options));
  }
  const identified = { folder: storage.path, fingerprint, warnings: [] };
  return { ...weightsIn(identified, layout, () => storage.open(fileName), fileName), fileName };
}

import { rmdir, stat } from "node:fs/promises";
import { join } from "node:path";
import type { ModelSource, WeightEntry } from "../formats/model.ts";
import { matchesSums, sumsBytes, sumWriter } from "../io/chunk-sums.ts";
import { openFile, writeFileAtomic } from "../io/disk.ts";
import { fileIdentity } from "../io/file-identity.ts";
import { hashesIn } from "../io/fingerprint.ts";
import { openRegular } from "../io/regular-file.ts";
import { removeAbandoned } from "../io/temporary.ts";
import type { WeightSpec } from "./family.ts";
import {
  type ConvertOptions,
  checkWeights,
  keyOf,
  type Layout,
  layoutOf,
  WEIGHTS_FILE,
  type WeightFile,
  weightsIn,
  writeWeights,
} from "./weight-layout.ts";
import { floatStorages, type WeightStorage } from "./weight-storage.ts";

/** How to open the file of a model's weights. */
export interface WeightFileOptions extends ConvertOptions {
  /** How each weight is kept; default: all as float32. */
  readonly storages?: ReadonlyMap<string, WeightStorage>;
}

/** Writes the weights, and the sums by which damage shows. */
async function convert(
  file: string,
  entries: readonly WeightEntry[],
  layout: Layout,
  options: ConvertOptions,
): Promise<void> {
  const sums = sumWriter();
  await writeFileAtomic(file, async (write) => {
    const summed = (bytes: Uint8Array): Promise<void> => {
      sums.add(bytes);
      return write(bytes);
    };
    await writeWeights(summed, entries, layout, options);
    await write(sums.finish());
  });
}

/** After so long a file that nobody changed is checked completely again: disks fail in silence. */
const RECHECK_MS = 7 * 24 * 3_600_000;
/** Chunks of 4 MB that are checked at every opening in between. */
const SAMPLED_CHUNKS = 8;

/** Whether there is a conversion, and it is as it was written. It is checked completely when it is opened for the first time
 *  after any change of the file (size, times, inode), and after a week; at other times in samples. */
async function stateOf(
  file: string,
  sizeBytes: number,
  cacheFolder: string,
): Promise<"whole" | "damaged" | "missing"> {
  const opened = await openRegular(file).catch(() => null);
  if (opened === null) return "missing";
  try {
    if ((await opened.stat()).size !== sizeBytes + sumsBytes(sizeBytes)) return "damaged";
    const { key, isSettled } = await fileIdentity(opened);
    const stamp = join(cacheFolder, "checked", key);
    const wasChecked = Date.now() - (await modifiedMs(stamp)) < RECHECK_MS;
    if (!(await matchesSums(opened, sizeBytes, wasChecked ? { sampled: SAMPLED_CHUNKS } : "all")))
      return "damaged";
    if (!wasChecked && isSettled) await writeFileAtomic(stamp, "");
    return "whole";
  } finally {
    await opened.close();
  }
}

async function modifiedMs(path: string): Promise<number> {
  return stat(path).then(
    ({ mtimeMs }) => mtimeMs,
    () => 0,
  );
}

/** The file of a model's weights, kept as `storages` say, below `cacheFolder`, converted on first use and kept by content. `weights.bin`
 *  appears complete or not at all, so several processes may convert at once: all write the same content. One that was cut
 *  off or damaged later (see `stateOf`) is made anew, with a warning. Other files in the folder must not have its name.
 *  @throws InputError as `checkWeights`, before anything is converted; FormatError naming the first weight with NaN or
 *  infinite values; LowrankError ("storage") if the disk does not take it; the signal's reason. Nothing is left then */
export async function openWeightFile(
  source: ModelSource,
  specs: readonly WeightSpec[],
  cacheFolder: string,
  { storages = floatStorages(specs), ...options }: WeightFileOptions = {},
): Promise<WeightFile> {
  const layout = layoutOf(specs, storages);
  const fingerprint = await source.fingerprint(hashesIn(cacheFolder));
  const folder = join(cacheFolder, "weights", keyOf(fingerprint, layout));
  const file = join(folder, WEIGHTS_FILE);
  const look = () => stateOf(file, layout.sizeBytes, cacheFolder);
  const state = await look();
  const warnings = state === "damaged" ? [`${file} was damaged, and was converted anew`] : [];
  const identified = { folder, fingerprint, warnings };
  if (state === "whole") return weightsIn(identified, layout, () => openFile(file));
  const entries = checkWeights(source, specs);
  await removeAbandoned(file);
  try {
    await convert(file, entries, layout, options);
  } catch (error) {
    await rmdir(folder).catch(() => undefined); // where nothing else is in it
    // Where another process was faster, and has the file mapped, Windows does not let it be replaced.
    if (options.signal?.aborted || (await look()) !== "whole") throw error;
  }
  return weightsIn(identified, layout, () => openFile(file));
}

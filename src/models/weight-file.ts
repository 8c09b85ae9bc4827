import { createHash } from "node:crypto";
import { rm, rmdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { FormatError, InputError, type Problem } from "../errors.ts";
import { openFile, writeFileAtomic } from "../formats/disk.ts";
import type { ModelSource, OnProgress, WeightEntry } from "../formats/model-source.ts";
import { abandonedPaths } from "../formats/temporary.ts";
import type { WeightLocation } from "../graph/value.ts";
import { type FloatTensor, floats, sizeOf } from "../tensor/tensor.ts";
import type { WeightSpec } from "./family.ts";

/** Format of the file: raise it when it changes. */
const VERSION = 2;
/** Weights start at page borders, so that each can be memory-mapped by itself. */
const ALIGNMENT_BYTES = 4096;
const FILE_NAME = "weights.bin";

/** A model's weights as one float32 file, which the runtime memory-maps. */
export interface WeightFile {
  readonly folder: string;
  readonly sizeBytes: number;
  /** Place of a weight. @throws FormatError if the model has none of that path. */
  locate(path: string): WeightLocation;
  /** Shape of a weight; null if the model has none of that path. */
  shapeOf(path: string): readonly number[] | null;
  /** A weight as a host array. @throws FormatError if the model has none of that path, or the file was cut off. */
  read(path: string): Promise<FloatTensor>;
}

/** Where each weight lies: follows from the weights alone. */
interface Layout {
  readonly places: ReadonlyMap<string, Place>;
  readonly sizeBytes: number;
}

interface Place {
  readonly offsetBytes: number;
  readonly sizeBytes: number;
  readonly shape: readonly number[];
}

/** What the conversion of a model may be told. */
export interface ConvertOptions {
  readonly onProgress?: OnProgress | undefined;
  /** Ends the conversion before the next weight. */
  readonly signal?: AbortSignal | undefined;
}

/** The weights of a model, each as the family wants it. Shapes are [out, in], whatever the order on disk.
 *  @throws InputError naming, as the checkpoint does, every weight that is missing, of another shape, or in excess */
export function checkWeights(source: ModelSource, specs: readonly WeightSpec[]): readonly WeightEntry[] {
  const entries = new Map(source.weights.map((w) => [w.path, w]));
  const problems: Problem[] = [];
  const found = specs.flatMap(({ path, shape }) => {
    const entry = entries.get(path);
    entries.delete(path);
    if (!entry)
      problems.push({ where: source.nameOf(path), message: `is missing, expected shape [${shape}]` });
    else if (String(entry.shape) !== String(shape))
      problems.push({ where: entry.name, message: `has shape [${entry.shape}], expected [${shape}]` });
    return entry ?? [];
  });
  for (const { name } of entries.values())
    problems.push({ where: name, message: "is not a weight of this configuration" });
  if (problems.length > 0)
    throw new InputError(`${source.path}: the weights do not fit the configuration:`, problems);
  return found;
}

function paddedBytes(sizeBytes: number): number {
  return Math.ceil(sizeBytes / ALIGNMENT_BYTES) * ALIGNMENT_BYTES;
}

function layoutOf(specs: readonly WeightSpec[]): Layout {
  const places = new Map<string, Place>();
  let offsetBytes = 0;
  for (const { path, shape } of specs) {
    const sizeBytes = 4 * sizeOf(shape);
    places.set(path, { offsetBytes, sizeBytes, shape });
    offsetBytes += paddedBytes(sizeBytes);
  }
  return { places, sizeBytes: offsetBytes };
}

/** Writes the weights one after another, one in memory at a time. */
async function convert(
  file: string,
  entries: readonly WeightEntry[],
  { onProgress, signal }: ConvertOptions,
): Promise<void> {
  const totalBytes = entries.reduce((n, { shape }) => n + 4 * sizeOf(shape), 0);
  let doneBytes = 0;
  await writeFileAtomic(file, async (write) => {
    for (const { read } of entries) {
      signal?.throwIfAborted();
      const { buffer, byteOffset, byteLength } = (await read()).data;
      await write(new Uint8Array(buffer, byteOffset, byteLength));
      await write(new Uint8Array(paddedBytes(byteLength) - byteLength));
      doneBytes += byteLength;
      onProgress?.({ what: "converting weights", doneBytes, totalBytes });
    }
  });
}

/** The conversion was finished, and nothing cut it off since. */
async function isWhole(file: string, sizeBytes: number): Promise<boolean> {
  return stat(file).then(
    ({ size }) => size === sizeBytes,
    () => false,
  );
}

function opened(folder: string, { places, sizeBytes }: Layout): WeightFile {
  const placeOf = (path: string): Place => {
    const place = places.get(path);
    if (!place) throw new FormatError(folder, `no weight ${path}`);
    return place;
  };
  return {
    folder,
    sizeBytes,
    shapeOf: (path) => places.get(path)?.shape ?? null,
    locate: (path) => {
      const { offsetBytes, sizeBytes } = placeOf(path);
      return { fileName: FILE_NAME, offsetBytes, sizeBytes };
    },
    read: async (path) => {
      const { offsetBytes, shape } = placeOf(path);
      const data = new Float32Array(sizeOf(shape));
      const file = await openFile(join(folder, FILE_NAME));
      try {
        await file.read(offsetBytes, new Uint8Array(data.buffer));
      } finally {
        await file.close();
      }
      return floats(data, shape);
    },
  };
}

/** Removes what killed conversions left. */
async function removeAbandoned(path: string): Promise<void> {
  for (const left of await abandonedPaths(path)) await rm(left, { force: true });
}

function keyOf(source: ModelSource, specs: readonly WeightSpec[]): string {
  const layout = specs.map(({ path, shape }) => `${path} ${shape}`);
  const identity = JSON.stringify([VERSION, source.fingerprint, layout]);
  return createHash("sha256").update(identity).digest("hex").slice(0, 32);
}

/** The float32 file of a model's weights below `cacheFolder`, converted on first use and kept by content. `weights.bin`
 *  appears complete or not at all, so several processes may convert at once: all write the same content. One that was cut
 *  off later is made anew. Other files in the folder must not have its name.
 *  @throws InputError as `checkWeights`, before anything is converted; FormatError naming the first weight with NaN or
 *  infinite values; LowrankError ("storage") if the disk does not take it; the signal's reason. Nothing is left then */
export async function openWeightFile(
  source: ModelSource,
  specs: readonly WeightSpec[],
  cacheFolder: string,
  options: ConvertOptions = {},
): Promise<WeightFile> {
  const folder = join(cacheFolder, "weights", keyOf(source, specs));
  const file = join(folder, FILE_NAME);
  const layout = layoutOf(specs);
  if (await isWhole(file, layout.sizeBytes)) return opened(folder, layout);
  const entries = checkWeights(source, specs);
  await removeAbandoned(file);
  try {
    await convert(file, entries, options);
  } catch (error) {
    await rmdir(folder).catch(() => undefined); // where nothing else is in it
    // Where another process was faster, and has the file mapped, Windows does not let it be replaced.
    if (options.signal?.aborted || !(await isWhole(file, layout.sizeBytes))) throw error;
  }
  return opened(folder, layout);
}

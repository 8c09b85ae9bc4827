import { FormatError, InputError, type Problem } from "../errors.ts";
import type { ModelSource, WeightEntry } from "../formats/model.ts";
import type { WeightLocation } from "../graph/value.ts";
import type { OnProgress } from "../io/progress.ts";
import { sha256Hex } from "../io/sha256.ts";
import type { RandomAccessFile } from "../io/storage/storage.ts";
import { type FloatTensor, floats, sizeOf } from "../tensor/tensor.ts";
import type { WeightSpec } from "./family.ts";
import type { BaseBits, WeightStorage } from "./weight-storage.ts";

/** Format of the file: raise it when it changes. */
const VERSION = 3;
/** Weights start at page borders, so that each can be memory-mapped by itself. */
const ALIGNMENT_BYTES = 4096;
/** The file in its folder. */
export const WEIGHTS_FILE = "weights.bin";

/** A model's weights as one file, which the runtime memory-maps: floats, and blocks of whole numbers where the base is
 *  quantized. */
export interface WeightFile {
  readonly folder: string;
  /** Identity of what was converted. */
  readonly fingerprint: string;
  /** What was found wrong with the conversion that was there, and put right. */
  readonly warnings: readonly string[];
  readonly sizeBytes: number;
  /** Shape of a weight; null if the model has none of that path. */
  shapeOf(path: string): readonly number[] | null;
  /** Bits that a weight is kept in. @throws FormatError if the model has none of that path. */
  bitsOf(path: string): BaseBits;
  /** Whether the file has a part of that name. */
  has(name: string): boolean;
  /** Place of a float weight, or of a part of a quantized one. @throws FormatError if there is none of that name. */
  locate(name: string): WeightLocation;
  /** A weight as a host array: the values that the runtime computes with.
   *  @throws FormatError if the model has none of that path, or the file was cut off. */
  read(path: string): Promise<FloatTensor>;
}

/** Where each weight lies: follows from the weights and how they are kept alone. */
export interface Layout {
  readonly weights: ReadonlyMap<string, StoredWeight>;
  /** By the name of a part. */
  readonly places: ReadonlyMap<string, Place>;
  readonly sizeBytes: number;
}

interface StoredWeight {
  readonly shape: readonly number[];
  readonly storage: WeightStorage;
}

interface Place {
  readonly offsetBytes: number;
  readonly sizeBytes: number;
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

/** Where each weight is to lie. */
export function layoutOf(specs: readonly WeightSpec[], storages: ReadonlyMap<string, WeightStorage>): Layout {
  const weights = new Map<string, StoredWeight>();
  const places = new Map<string, Place>();
  let offsetBytes = 0;
  for (const { path, shape } of specs) {
    const storage = storages.get(path) as WeightStorage;
    weights.set(path, { shape, storage });
    for (const { name, sizeBytes } of storage.parts) {
      places.set(name, { offsetBytes, sizeBytes });
      offsetBytes += paddedBytes(sizeBytes);
    }
  }
  return { weights, places, sizeBytes: offsetBytes };
}

/** Writes the weights one after another, one in memory at a time. */
export async function writeWeights(
  write: (bytes: Uint8Array) => Promise<void>,
  entries: readonly WeightEntry[],
  { weights }: Layout,
  { onProgress, signal }: ConvertOptions,
): Promise<void> {
  const totalBytes = entries.reduce((n, { shape }) => n + 4 * sizeOf(shape), 0);
  let doneBytes = 0;
  for (const { path, shape, read } of entries) {
    signal?.throwIfAborted();
    const { storage } = weights.get(path) as StoredWeight;
    for (const part of storage.encode((await read()).data)) {
      await write(part);
      await write(new Uint8Array(paddedBytes(part.byteLength) - part.byteLength));
    }
    doneBytes += 4 * sizeOf(shape);
    onProgress?.({ what: "converting weights", doneBytes, totalBytes });
  }
}

/** What a file of weights is called by. */
export type Identified = Pick<WeightFile, "folder" | "fingerprint" | "warnings">;

/** The weights of a file that is there; `open` opens it. */
export function weightsIn(
  identified: Identified,
  { weights, places, sizeBytes }: Layout,
  open: () => Promise<RandomAccessFile>,
  fileName: string = WEIGHTS_FILE,
): WeightFile {
  const { folder } = identified;
  const found = <T>(map: ReadonlyMap<string, T>, name: string): T => {
    const value = map.get(name);
    if (!value) throw new FormatError(folder, `no weight ${name}`);
    return value;
  };
  return {
    ...identified,
    sizeBytes,
    shapeOf: (path) => weights.get(path)?.shape ?? null,
    bitsOf: (path) => found(weights, path).storage.bits,
    has: (name) => places.has(name),
    locate: (name) => ({ fileName, ...found(places, name) }),
    read: async (path) => {
      const { shape, storage } = found(weights, path);
      const parts: Uint8Array[] = [];
      const file = await open();
      try {
        for (const { name } of storage.parts) {
          const { offsetBytes, sizeBytes } = found(places, name);
          const bytes = new Uint8Array(sizeBytes);
          await file.read(offsetBytes, bytes);
          parts.push(bytes);
        }
      } finally {
        await file.close();
      }
      return floats(storage.decode(parts), shape);
    },
  };
}

/** Name of what a model becomes under a layout: by content. */
export function keyOf(fingerprint: string, { weights }: Layout): string {
  const layout = [...weights].map(([path, { shape, storage }]) => {
    const kept = storage.bits === 32 ? "" : ` in ${storage.bits} bits, steps: ${storage.steps}`;
    return `${path} ${shape}${kept}`;
  });
  const identity = JSON.stringify([VERSION, fingerprint, layout]);
  return sha256Hex(identity).slice(0, 32);
}

import { createHash } from "node:crypto";
import { rmdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { FormatError, InputError, type Problem } from "../errors.ts";
import type { ModelSource, WeightEntry } from "../formats/model.ts";
import type { WeightLocation } from "../graph/value.ts";
import { matchesSums, sumsBytes, sumWriter } from "../io/chunk-sums.ts";
import { openFile, writeFileAtomic } from "../io/disk.ts";
import { fileIdentity } from "../io/file-identity.ts";
import { hashesIn } from "../io/fingerprint.ts";
import type { OnProgress } from "../io/progress.ts";
import { openRegular } from "../io/regular-file.ts";
import { removeAbandoned } from "../io/temporary.ts";
import { type FloatTensor, floats, sizeOf } from "../tensor/tensor.ts";
import type { WeightSpec } from "./family.ts";
import { type BaseBits, floatStorages, type WeightStorage } from "./weight-storage.ts";

/** Format of the file: raise it when it changes. */
const VERSION = 3;
/** Weights start at page borders, so that each can be memory-mapped by itself. */
const ALIGNMENT_BYTES = 4096;
const FILE_NAME = "weights.bin";

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
interface Layout {
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

/** How to open the file of a model's weights. */
export interface WeightFileOptions extends ConvertOptions {
  /** How each weight is kept; default: all as float32. */
  readonly storages?: ReadonlyMap<string, WeightStorage>;
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

function layoutOf(specs: readonly WeightSpec[], storages: ReadonlyMap<string, WeightStorage>): Layout {
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
async function convert(
  file: string,
  entries: readonly WeightEntry[],
  { weights }: Layout,
  { onProgress, signal }: ConvertOptions,
): Promise<void> {
  const sums = sumWriter();
  const totalBytes = entries.reduce((n, { shape }) => n + 4 * sizeOf(shape), 0);
  let doneBytes = 0;
  await writeFileAtomic(file, async (writeBytes) => {
    const write = (bytes: Uint8Array): Promise<void> => {
      sums.add(bytes);
      return writeBytes(bytes);
    };
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
    await writeBytes(sums.finish());
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

type Identified = Pick<WeightFile, "folder" | "fingerprint" | "warnings">;

function opened(identified: Identified, { weights, places, sizeBytes }: Layout): WeightFile {
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
    locate: (name) => ({ fileName: FILE_NAME, ...found(places, name) }),
    read: async (path) => {
      const { shape, storage } = found(weights, path);
      const parts: Uint8Array[] = [];
      const file = await openFile(join(folder, FILE_NAME));
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

function keyOf(fingerprint: string, { weights }: Layout): string {
  const layout = [...weights].map(([path, { shape, storage }]) => {
    const kept = storage.bits === 32 ? "" : ` in ${storage.bits} bits, steps: ${storage.steps}`;
    return `${path} ${shape}${kept}`;
  });
  const identity = JSON.stringify([VERSION, fingerprint, layout]);
  return createHash("sha256").update(identity).digest("hex").slice(0, 32);
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
  const file = join(folder, FILE_NAME);
  const look = () => stateOf(file, layout.sizeBytes, cacheFolder);
  const state = await look();
  const warnings = state === "damaged" ? [`${file} was damaged, and was converted anew`] : [];
  const identified = { folder, fingerprint, warnings };
  if (state === "whole") return opened(identified, layout);
  const entries = checkWeights(source, specs);
  await removeAbandoned(file);
  try {
    await convert(file, entries, layout, options);
  } catch (error) {
    await rmdir(folder).catch(() => undefined); // where nothing else is in it
    // Where another process was faster, and has the file mapped, Windows does not let it be replaced.
    if (options.signal?.aborted || (await look()) !== "whole") throw error;
  }
  return opened(identified, layout);
}

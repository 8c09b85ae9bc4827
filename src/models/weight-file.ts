import { createHash } from "node:crypto";
import { mkdir, open, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { FormatError, InputError } from "../errors.ts";
import type { ModelSource, OnProgress, WeightEntry } from "../formats/model-source.ts";
import type { WeightLocation } from "../graph/value.ts";
import { type FloatTensor, floats, sizeOf } from "../tensor/tensor.ts";
import type { WeightSpec } from "./family.ts";

/** Format of the file and its index: raise it when either changes. */
const VERSION = 1;
/** Weights start at page borders, so that each can be memory-mapped by itself. */
const ALIGNMENT_BYTES = 4096;
const FILE_NAME = "weights.bin";

/** A model's weights as one float32 file, which the runtime memory-maps. */
export interface WeightFile {
  readonly folder: string;
  readonly sizeBytes: number;
  /** Place of a weight. @throws FormatError if the model has none of that path. */
  locate(path: string): WeightLocation;
  /** A weight as a host array. */
  read(path: string): Promise<FloatTensor>;
}

interface Index {
  readonly version: number;
  readonly sizeBytes: number;
  readonly weights: Readonly<Record<string, { offsetBytes: number; shape: readonly number[] }>>;
}

function checkWeights(source: ModelSource, specs: readonly WeightSpec[]): Map<string, WeightEntry> {
  const entries = new Map(source.weights.map((w) => [w.path, w]));
  const problems = specs.flatMap((spec) => {
    const entry = entries.get(spec.path);
    if (!entry)
      return [{ where: spec.path, message: `expected shape [${spec.shape}], the model has no such weight` }];
    if (`${entry.shape}` === `${spec.shape}`) return [];
    return [
      { where: spec.path, message: `expected shape [${spec.shape}] by the config, got [${entry.shape}]` },
    ];
  });
  if (problems.length > 0) throw new InputError(`${source.path}: weights do not fit the config`, problems);
  return entries;
}

function refuseNonFinite(source: ModelSource, path: string, data: Float32Array): void {
  // A sum is NaN or infinite if any element is (or if it overflows, which no real weight does).
  let total = 0;
  for (let i = 0; i < data.length; i++) total += data[i] as number;
  if (!Number.isFinite(total))
    throw new FormatError(source.path, `weight ${path} holds NaN or infinite values`);
}

async function convert(
  source: ModelSource,
  specs: readonly WeightSpec[],
  folder: string,
  onProgress: OnProgress,
  signal: AbortSignal | undefined,
): Promise<void> {
  const entries = checkWeights(source, specs);
  const totalBytes = specs.reduce((n, s) => n + 4 * sizeOf(s.shape), 0);
  const weights: Record<string, { offsetBytes: number; shape: readonly number[] }> = {};
  const file = await open(join(folder, FILE_NAME), "w");
  let offsetBytes = 0;
  let doneBytes = 0;
  try {
    for (const { path } of specs) {
      signal?.throwIfAborted();
      const { data, shape } = await (entries.get(path) as WeightEntry).read();
      refuseNonFinite(source, path, data);
      await file.write(
        new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
        0,
        data.byteLength,
        offsetBytes,
      );
      weights[path] = { offsetBytes, shape };
      offsetBytes = Math.ceil((offsetBytes + data.byteLength) / ALIGNMENT_BYTES) * ALIGNMENT_BYTES;
      doneBytes += data.byteLength;
      onProgress({ what: "converting weights", doneBytes, totalBytes });
    }
    await file.truncate(offsetBytes);
    await file.sync();
  } finally {
    await file.close();
  }
  const index: Index = { version: VERSION, sizeBytes: offsetBytes, weights };
  await writeFile(join(folder, "index.json"), JSON.stringify(index));
}

async function readIndex(folder: string): Promise<Index | null> {
  try {
    const index = JSON.parse(await readFile(join(folder, "index.json"), "utf8")) as Index;
    const { size } = await stat(join(folder, FILE_NAME));
    return index.version === VERSION && size === index.sizeBytes ? index : null;
  } catch {
    return null; // not converted yet, or not completely
  }
}

function openFile(folder: string, index: Index): WeightFile {
  const locate = (path: string): WeightLocation => {
    const entry = index.weights[path];
    if (!entry) throw new FormatError(folder, `no weight ${path}`);
    return { fileName: FILE_NAME, offsetBytes: entry.offsetBytes, sizeBytes: 4 * sizeOf(entry.shape) };
  };
  return {
    folder,
    sizeBytes: index.sizeBytes,
    locate,
    read: async (path) => {
      const { offsetBytes, sizeBytes } = locate(path);
      const data = new Float32Array(sizeBytes / 4);
      const file = await open(join(folder, FILE_NAME), "r");
      try {
        await file.read(new Uint8Array(data.buffer), 0, sizeBytes, offsetBytes);
      } finally {
        await file.close();
      }
      return floats(data, (index.weights[path] as { shape: readonly number[] }).shape);
    },
  };
}

/** The float32 file of a model's weights below `cacheFolder`, converted on first use and kept by content: a folder is
 *  complete or not there. Other files in it must not be written by name clashes with `weights.bin` and `index.json`.
 *  @throws InputError listing every weight that is missing or has the wrong shape
 *  @throws FormatError naming the first weight with NaN or infinite values */
export async function openWeightFile(
  source: ModelSource,
  specs: readonly WeightSpec[],
  cacheFolder: string,
  onProgress: OnProgress = () => {},
  signal?: AbortSignal,
): Promise<WeightFile> {
  const key = createHash("sha256").update(`${VERSION} ${source.fingerprint}`).digest("hex").slice(0, 32);
  const folder = join(cacheFolder, "weights", key);
  const ready = await readIndex(folder);
  if (ready) return openFile(folder, ready);
  const temporary = `${folder}.${process.pid}.partial`;
  await rm(temporary, { recursive: true, force: true });
  await mkdir(temporary, { recursive: true });
  try {
    await convert(source, specs, temporary, onProgress, signal);
    await rm(folder, { recursive: true, force: true });
    await rename(temporary, folder);
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    const other = await readIndex(folder); // another process may have been faster
    if (other) return openFile(folder, other);
    throw error;
  }
  return openFile(folder, (await readIndex(folder)) as Index);
}

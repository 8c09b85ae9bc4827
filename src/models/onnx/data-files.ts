import { join } from "node:path";
import { InputError } from "../../errors.ts";
import { dataFileName } from "../../formats/transformers-js/layout.ts";
import type { LocateWeight } from "../../graph/onnx.ts";
import type { Value, WeightLocation } from "../../graph/value.ts";
import { openFile, type RandomAccessFile, writeFileAtomic } from "../../io/disk.ts";
import { toHalf } from "../../tensor/half.ts";

/** Browsers hold no more than 2^31 bytes in one piece; files of weights stay below. */
const FILE_BYTES = 2_000_000_000;
/** Weights start at page borders, so that each can be memory-mapped by itself. */
const ALIGNMENT_BYTES = 4096;
/** Bytes that are read at once. */
const CHUNK_BYTES = 16 * 2 ** 20;
const HALF_MAX = 65504;

/** A weight in a file that is to be written. */
interface Piece {
  readonly weight: Value;
  readonly from: WeightLocation;
  readonly offsetBytes: number;
  readonly sizeBytes: number;
}

/** Files of a graph's weights, planned. */
export interface DataFiles {
  readonly files: readonly { readonly name: string; readonly pieces: readonly Piece[] }[];
  readonly locate: LocateWeight;
  readonly sizeBytes: number;
}

function sourceOf(weight: Value): WeightLocation {
  const { source } = weight.node;
  if (source?.kind !== "weight") throw new RangeError("expected a weight");
  return source.file;
}

const keyOf = (weight: Value): string => `${sourceOf(weight).offsetBytes} ${weight.dtype === "float16"}`;

/** Puts weights one after another into as few files as hold them; bytes that several share are there once. */
export function planDataFiles(
  weights: readonly Value[],
  graphFile: string,
  fileBytes: number = FILE_BYTES,
): DataFiles {
  const files: { name: string; pieces: Piece[] }[] = [];
  const places = new Map<string, WeightLocation>();
  let [end, total] = [Number.POSITIVE_INFINITY, 0];
  for (const weight of weights) {
    if (places.has(keyOf(weight))) continue;
    const from = sourceOf(weight);
    const sizeBytes = weight.dtype === "float16" ? from.sizeBytes / 2 : from.sizeBytes;
    if (end + sizeBytes > fileBytes) {
      files.push({ name: dataFileName(graphFile, files.length), pieces: [] });
      end = 0;
    }
    const file = files.at(-1) as (typeof files)[number];
    file.pieces.push({ weight, from, offsetBytes: end, sizeBytes });
    places.set(keyOf(weight), { fileName: file.name, offsetBytes: end, sizeBytes });
    end = Math.ceil((end + sizeBytes) / ALIGNMENT_BYTES) * ALIGNMENT_BYTES;
    total += sizeBytes;
  }
  return { files, sizeBytes: total, locate: (weight) => places.get(keyOf(weight)) as WeightLocation };
}

/** How files of weights are written. */
export interface WriteDataOptions {
  /** Folder of the file that the weights are in now. */
  readonly weightFolder: string;
  readonly onBytes?: (count: number) => void;
  readonly signal?: AbortSignal;
}

/** Writes them into a folder. @throws InputError for a weight that halves do not hold; the signal's reason */
export async function writeDataFiles(
  { files }: DataFiles,
  folder: string,
  options: WriteDataOptions,
): Promise<void> {
  const opened = new Map<string, RandomAccessFile>();
  try {
    for (const { pieces } of files)
      for (const { from } of pieces)
        if (!opened.has(from.fileName))
          opened.set(from.fileName, await openFile(join(options.weightFolder, from.fileName)));
    for (const { name, pieces } of files)
      await writeFileAtomic(join(folder, name), async (write) => {
        let at = 0;
        for (const piece of pieces) {
          await write(new Uint8Array(piece.offsetBytes - at));
          await writePiece(piece, opened.get(piece.from.fileName) as RandomAccessFile, write, options);
          at = piece.offsetBytes + piece.sizeBytes;
        }
      });
  } finally {
    for (const file of opened.values()) await file.close();
  }
}

async function writePiece(
  { weight, from }: Piece,
  file: RandomAccessFile,
  write: (bytes: Uint8Array) => Promise<void>,
  { onBytes, signal }: WriteDataOptions,
): Promise<void> {
  for (let done = 0; done < from.sizeBytes; done += CHUNK_BYTES) {
    signal?.throwIfAborted();
    const bytes = new Uint8Array(Math.min(CHUNK_BYTES, from.sizeBytes - done));
    await file.read(from.offsetBytes + done, bytes);
    const own = weight.dtype === "float16" ? halves(weight, new Float32Array(bytes.buffer)) : bytes;
    await write(own);
    onBytes?.(own.length);
  }
}

function halves(weight: Value, values: Float32Array): Uint8Array {
  const beyond = values.find((x) => !(Math.abs(x) <= HALF_MAX));
  if (beyond === undefined) return new Uint8Array(toHalf(values).buffer);
  const { source } = weight.node;
  const where = source?.kind === "weight" ? source.name : "weight";
  const message = `has ${beyond}, and halves hold up to ±${HALF_MAX}: leave out fp16 and q4f16`;
  throw new InputError("the model cannot be written with halves", [{ where, message }]);
}

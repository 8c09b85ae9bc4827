import { FormatError, InputError, NotFoundError, type Problem, UnsupportedError } from "../../errors.ts";
import { isObject, kindOf, parseJsonObject } from "../../io/json.ts";
import type { HashedFile, RandomAccessFile } from "../../io/storage/storage.ts";
import { fromBrainFloat, fromHalf } from "../../tensor/half.ts";
import { type FloatTensor, floats, sizeOf } from "../../tensor/tensor.ts";

/** Longest header that the reference implementation accepts. */
const HEADER_LIMIT_BYTES = 100_000_000;

/** Bits per element of every dtype of the format. */
const DTYPE_BITS: ReadonlyMap<string, number> = new Map([
  ["BOOL", 8],
  ["U8", 8],
  ["I8", 8],
  ["F8_E4M3", 8],
  ["F8_E5M2", 8],
  ["F8_E8M0", 8],
  ["F4", 4],
  ["F6_E2M3", 6],
  ["F6_E3M2", 6],
  ["I16", 16],
  ["U16", 16],
  ["F16", 16],
  ["BF16", 16],
  ["I32", 32],
  ["U32", 32],
  ["F32", 32],
  ["I64", 64],
  ["U64", 64],
  ["F64", 64],
  ["C64", 64],
]);

/** One tensor of a file: where its bytes lie. */
export interface SafetensorsEntry {
  readonly name: string;
  /** As the file names it: "F32", "BF16", … */
  readonly dtype: string;
  readonly shape: readonly number[];
  /** Of the first byte, from the start of the file. */
  readonly offset: number;
  readonly sizeBytes: number;
}

/** A .safetensors file, opened and checked; tensors are read on demand. */
export interface SafetensorsFile extends HashedFile {
  readonly sizeBytes: number;
  readonly modifiedMs: number;
  /** By name, in the order of the data. */
  readonly entries: ReadonlyMap<string, SafetensorsEntry>;
  /** `__metadata__` of the header. */
  readonly metadata: Readonly<Record<string, string>>;
  /** A tensor as float32. F32, F16 and BF16 are exact, F64 is rounded.
   *  @throws NotFoundError, UnsupportedError for other dtypes. */
  read(name: string): Promise<FloatTensor>;
  /** A tensor's bytes as they are on disk. @throws NotFoundError. */
  readBytes(name: string): Promise<Uint8Array>;
  close(): Promise<void>;
}

async function readHeader(
  file: RandomAccessFile,
): Promise<{ header: Record<string, unknown>; start: number }> {
  if (file.sizeBytes < 8)
    throw new FormatError(file.path, `is ${file.sizeBytes} bytes long, a safetensors file has 8 or more`);
  const prefix = new Uint8Array(8);
  await file.read(0, prefix);
  const length = new DataView(prefix.buffer).getBigUint64(0, true);
  if (length > HEADER_LIMIT_BYTES)
    throw new FormatError(file.path, `header length is ${length} bytes, the limit is ${HEADER_LIMIT_BYTES}`);
  const start = 8 + Number(length);
  if (start > file.sizeBytes)
    throw new FormatError(file.path, `header ends at byte ${start}, the file at byte ${file.sizeBytes}`);
  const bytes = new Uint8Array(Number(length));
  await file.read(8, bytes);
  return { header: parseJsonObject(bytes, `${file.path} (header)`), start };
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** An entry of the header, or what is wrong with it. */
function parseEntry(name: string, value: unknown, start: number): SafetensorsEntry | string {
  if (!isObject(value)) return `expected an object, got ${kindOf(value)}`;
  const { dtype, shape, data_offsets: range } = value;
  const bits = typeof dtype === "string" ? DTYPE_BITS.get(dtype) : undefined;
  if (typeof dtype !== "string" || bits === undefined) return `unknown dtype ${kindOf(dtype)}`;
  if (!Array.isArray(shape) || !shape.every(isCount))
    return `shape ${JSON.stringify(shape)} is not a list of whole numbers below 2^53`;
  if (!Array.isArray(range) || range.length !== 2 || !range.every(isCount))
    return `data_offsets ${JSON.stringify(range)} are not two whole numbers below 2^53`;
  const [begin, end] = range as [number, number];
  if (end < begin) return `data_offsets [${range}] end before they begin`;
  const expectedBits = sizeOf(shape) * bits;
  if (!Number.isSafeInteger(expectedBits)) return `shape [${shape}] has too many elements`;
  if (expectedBits !== (end - begin) * 8)
    return `${dtype} of shape [${shape}] needs ${expectedBits / 8} bytes, data_offsets hold ${end - begin}`;
  return { name, dtype, shape, offset: start + begin, sizeBytes: end - begin };
}

/** mlx-lm writes null where there is nothing. */
function metadataProblems(value: unknown): Problem[] {
  if (value === null) return [];
  const where = "__metadata__";
  if (!isObject(value)) return [{ where, message: `expected an object, got ${kindOf(value)}` }];
  return Object.entries(value)
    .filter(([, text]) => typeof text !== "string")
    .map(([key, text]) => ({ where, message: `"${key}" is ${kindOf(text)}, expected a string` }));
}

/** The data must be covered exactly: no overlap, no gap, nothing after the last tensor. */
function coverageProblems(sorted: readonly SafetensorsEntry[], start: number, fileBytes: number): Problem[] {
  const problems: Problem[] = [];
  let end = start;
  let before = "the header";
  for (const { name, offset, sizeBytes } of sorted) {
    if (offset < end) problems.push({ where: name, message: `overlaps ${before} by ${end - offset} bytes` });
    if (offset > end)
      problems.push({ where: name, message: `leaves a gap of ${offset - end} bytes after ${before}` });
    if (offset + sizeBytes > fileBytes)
      problems.push({
        where: name,
        message: `ends at byte ${offset + sizeBytes}, the file at byte ${fileBytes} (truncated?)`,
      });
    end = Math.max(end, offset + sizeBytes);
    before = `"${name}"`;
  }
  if (end < fileBytes)
    problems.push({ where: "end of file", message: `${fileBytes - end} bytes belong to no tensor` });
  return problems;
}

function parseEntries(header: Record<string, unknown>, start: number, file: RandomAccessFile) {
  const problems: Problem[] = [];
  const entries: SafetensorsEntry[] = [];
  for (const [name, value] of Object.entries(header)) {
    if (name === "__metadata__") problems.push(...metadataProblems(value));
    else {
      const entry = parseEntry(name, value, start);
      if (typeof entry === "string") problems.push({ where: name, message: entry });
      else entries.push(entry);
    }
  }
  entries.sort((a, b) => a.offset - b.offset || a.sizeBytes - b.sizeBytes);
  // Coverage says nothing useful while ranges are missing.
  if (problems.length === 0) problems.push(...coverageProblems(entries, start, file.sizeBytes));
  if (problems.length > 0) throw new InputError(`${file.path} is not a valid safetensors file:`, problems);
  return new Map(entries.map((entry) => [entry.name, entry]));
}

const toFloats: ReadonlyMap<string, (bytes: Uint8Array<ArrayBuffer>, out: Float32Array) => void> = new Map([
  ["F16", (bytes, out) => fromHalf(new Uint16Array(bytes.buffer), out)],
  ["BF16", (bytes, out) => fromBrainFloat(new Uint16Array(bytes.buffer), out)],
  ["F64", (bytes, out) => out.set(new Float64Array(bytes.buffer))],
]);

/** dtypes that `read` turns into float32. */
export const READABLE_DTYPES: readonly string[] = ["F32", ...toFloats.keys()];

async function readFloats(file: RandomAccessFile, entry: SafetensorsEntry): Promise<FloatTensor> {
  const convert = toFloats.get(entry.dtype);
  if (!convert && entry.dtype !== "F32")
    throw new UnsupportedError(
      `${file.path}: tensor "${entry.name}" is ${entry.dtype}, expected ${READABLE_DTYPES.join(", ")}`,
    );
  const out = new Float32Array(sizeOf(entry.shape));
  if (convert) {
    const bytes = new Uint8Array(entry.sizeBytes);
    await file.read(entry.offset, bytes);
    convert(bytes, out);
  } else await file.read(entry.offset, new Uint8Array(out.buffer));
  return floats(out, entry.shape);
}

/** Takes an open safetensors file and checks all of its header against the file: format at
 *  https://github.com/huggingface/safetensors#format.
 *  It is closed where that fails. @throws FormatError if the header cannot be read; InputError listing every tensor at fault. */
export async function safetensorsOf(file: RandomAccessFile): Promise<SafetensorsFile> {
  try {
    const { header, start } = await readHeader(file);
    const entries = parseEntries(header, start, file);
    const entryOf = (name: string): SafetensorsEntry => {
      const entry = entries.get(name);
      if (!entry) throw new NotFoundError(`${file.path}: no tensor "${name}"`);
      return entry;
    };
    return {
      ...file,
      entries,
      metadata: (header.__metadata__ ?? {}) as Record<string, string>,
      read: async (name) => readFloats(file, entryOf(name)),
      readBytes: async (name) => {
        const entry = entryOf(name);
        const bytes = new Uint8Array(entry.sizeBytes);
        await file.read(entry.offset, bytes);
        return bytes;
      },
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

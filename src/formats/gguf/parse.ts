import { FormatError, InputError, type Problem, UnsupportedError } from "../../errors.ts";
import { isUtf8, textOfUtf8 } from "../../io/bytes.ts";
import { sizeOf } from "../../tensor/tensor.ts";
import { GGML_TYPES } from "./types.ts";

/** A value of a GGUF key. 64-bit integers beyond 2^53 are bigints. */
export type GgufValue = number | bigint | boolean | string | readonly GgufValue[];

/** One tensor of a GGUF file. */
export interface GgufEntry {
  readonly name: string;
  /** Row-major, outermost first (the file has them the other way round). */
  readonly shape: readonly number[];
  /** "F32", "Q4_1", … */
  readonly type: string;
  /** Of the first byte, from the start of the file. */
  readonly offset: number;
  readonly sizeBytes: number;
}

export interface GgufHeader {
  readonly version: number;
  readonly alignment: number;
  readonly values: ReadonlyMap<string, GgufValue>;
  readonly entries: ReadonlyMap<string, GgufEntry>;
}

/** The header goes on beyond the bytes that were read so far; the caller reads more and starts again. */
export class NeedMoreBytes extends Error {}

const MAGIC = 0x46554747; // "GGUF", little-endian
const ARRAY = 9;
const DIMENSION_LIMIT = 4; // GGML_MAX_DIMS
const ARRAY_DEPTH_LIMIT = 4;
const ALIGNMENT_LIMIT = 1 << 24;

/** Reads values one after the other from the start of a file of `fileBytes`, of which `bytes` are here. */
class Cursor {
  readonly #path: string;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #fileBytes: number;
  position = 0;

  constructor(path: string, bytes: Uint8Array, fileBytes: number) {
    this.#path = path;
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#fileBytes = fileBytes;
  }

  fail(message: string): FormatError {
    return new FormatError(this.#path, `${message} (at byte ${this.position})`);
  }

  /** Moves on by `count` bytes and returns where they start. */
  #take(count: number, what: string): number {
    const start = this.position;
    if (start + count > this.#fileBytes) throw this.fail(`the file ends inside ${what}`);
    if (start + count > this.#bytes.length) throw new NeedMoreBytes();
    this.position = start + count;
    return start;
  }

  scalar(type: number, what: string): number | bigint | boolean {
    const read = SCALARS.get(type);
    if (!read) throw this.fail(`${what} has unknown value type ${type}`);
    return read.read(this.#view, this.#take(read.sizeBytes, what));
  }

  uint32(what: string): number {
    return this.#view.getUint32(this.#take(4, what), true);
  }

  uint64(what: string): bigint {
    return this.#view.getBigUint64(this.#take(8, what), true);
  }

  /** A count of things of at least `minimumBytes` each: more than the file can hold is an error before allocation. */
  count(minimumBytes: number, what: string): number {
    const count = this.uint64(what);
    const room = this.#fileBytes - this.position;
    if (count * BigInt(minimumBytes) > BigInt(room))
      throw this.fail(`${what} is ${count}, more than the ${room} bytes that follow can hold`);
    return Number(count);
  }

  text(what: string): string {
    const length = this.count(1, `the length of ${what}`);
    const start = this.#take(length, what);
    const bytes = this.#bytes.subarray(start, start + length);
    const text = textOfUtf8(bytes);
    // The replacement character is either in the text itself or the trace of bytes that are not UTF-8.
    if (text.includes("\uFFFD") && !isUtf8(bytes)) throw this.fail(`${what} is not UTF-8`);
    return text;
  }

  value(type: number, what: string, depth = 0): GgufValue {
    if (type === 8) return this.text(what);
    if (type !== ARRAY) return this.scalar(type, what);
    if (depth >= ARRAY_DEPTH_LIMIT)
      throw this.fail(`${what} nests arrays more than ${ARRAY_DEPTH_LIMIT} deep`);
    const itemType = this.uint32(`the item type of ${what}`);
    const length = this.count(minimumSize(itemType), `the length of ${what}`);
    const items: GgufValue[] = [];
    for (let i = 0; i < length; i++) items.push(this.value(itemType, what, depth + 1));
    return items;
  }
}

function exact(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

interface Scalar {
  readonly sizeBytes: number;
  readonly read: (bytes: DataView, at: number) => number | bigint | boolean;
}

const SCALARS: ReadonlyMap<number, Scalar> = new Map<number, Scalar>([
  [0, { sizeBytes: 1, read: (b, at) => b.getUint8(at) }],
  [1, { sizeBytes: 1, read: (b, at) => b.getInt8(at) }],
  [2, { sizeBytes: 2, read: (b, at) => b.getUint16(at, true) }],
  [3, { sizeBytes: 2, read: (b, at) => b.getInt16(at, true) }],
  [4, { sizeBytes: 4, read: (b, at) => b.getUint32(at, true) }],
  [5, { sizeBytes: 4, read: (b, at) => b.getInt32(at, true) }],
  [6, { sizeBytes: 4, read: (b, at) => b.getFloat32(at, true) }],
  [7, { sizeBytes: 1, read: (b, at) => b.getUint8(at) !== 0 }],
  [10, { sizeBytes: 8, read: (b, at) => exact(b.getBigUint64(at, true)) }],
  [11, { sizeBytes: 8, read: (b, at) => exact(b.getBigInt64(at, true)) }],
  [12, { sizeBytes: 8, read: (b, at) => b.getFloat64(at, true) }],
]);

/** Bytes that an array item takes at least: 8 for a string's length, 12 for an array's type and length. */
function minimumSize(type: number): number {
  return SCALARS.get(type)?.sizeBytes ?? (type === ARRAY ? 12 : 8);
}

function readVersion(cursor: Cursor, path: string): number {
  if (cursor.uint32("the magic") !== MAGIC) throw new FormatError(path, "is not a GGUF file (no GGUF magic)");
  const version = cursor.uint32("the version");
  if (version === 2 || version === 3) return version;
  const bigEndian = (version & 0xffff) === 0;
  throw new UnsupportedError(
    `${path}: ${bigEndian ? "big-endian GGUF files are" : `GGUF version ${version} is`} not supported, expected version 2 or 3`,
  );
}

function readValues(cursor: Cursor, count: number): Map<string, GgufValue> {
  const values = new Map<string, GgufValue>();
  for (let i = 0; i < count; i++) {
    const key = cursor.text(`key ${i}`);
    if (values.has(key)) throw cursor.fail(`key "${key}" is given twice`);
    values.set(key, cursor.value(cursor.uint32(`the type of ${key}`), key));
  }
  return values;
}

/** What the file says of a tensor, before it is checked. */
interface RawEntry {
  readonly name: string;
  readonly dimensions: readonly bigint[];
  readonly typeId: number;
  readonly offset: bigint;
}

function readRawEntry(cursor: Cursor, index: number): RawEntry {
  const name = cursor.text(`the name of tensor ${index}`);
  const rank = cursor.uint32(`the rank of "${name}"`);
  if (rank > DIMENSION_LIMIT)
    throw cursor.fail(`tensor "${name}" has ${rank} dimensions, expected at most ${DIMENSION_LIMIT}`);
  const dimensions = Array.from({ length: rank }, () => cursor.uint64(`the shape of "${name}"`));
  return {
    name,
    dimensions,
    typeId: cursor.uint32(`the type of "${name}"`),
    offset: cursor.uint64(`the offset of "${name}"`),
  };
}

function readAlignment(path: string, values: ReadonlyMap<string, GgufValue>): number {
  const alignment = values.get("general.alignment") ?? 32;
  const valid =
    typeof alignment === "number" &&
    alignment >= 1 &&
    alignment <= ALIGNMENT_LIMIT &&
    Number.isInteger(Math.log2(alignment));
  if (!valid)
    throw new FormatError(path, `general.alignment is ${String(alignment)}, expected a power of two`);
  return alignment;
}

/** A checked entry, or what is wrong with it. */
function checkEntry(
  raw: RawEntry,
  dataStart: number,
  alignment: number,
  fileBytes: number,
): GgufEntry | string {
  const type = GGML_TYPES.get(raw.typeId);
  if (!type) return `has unknown type ${raw.typeId}`;
  const shape = raw.dimensions.map(Number).reverse();
  const elements = sizeOf(shape);
  if (!Number.isSafeInteger(elements * type.blockBytes)) return `shape [${shape}] has too many elements`;
  if (elements === 0) return `shape [${shape}] has no elements`;
  if ((shape.at(-1) ?? 1) % type.blockSize !== 0)
    return `rows of ${shape.at(-1)} elements do not fill ${type.name} blocks of ${type.blockSize}`;
  const sizeBytes = (elements / type.blockSize) * type.blockBytes;
  if (raw.offset % BigInt(alignment) !== 0n) return `offset ${raw.offset} is not a multiple of ${alignment}`;
  const end = BigInt(dataStart) + raw.offset + BigInt(sizeBytes);
  if (end > BigInt(fileBytes)) return `ends at byte ${end}, the file at byte ${fileBytes} (truncated?)`;
  return { name: raw.name, shape, type: type.name, offset: dataStart + Number(raw.offset), sizeBytes };
}

function overlapProblems(entries: readonly GgufEntry[]): Problem[] {
  const sorted = entries.toSorted((a, b) => a.offset - b.offset);
  return sorted.flatMap((entry, i) => {
    const before = sorted[i - 1];
    const overlap = before ? before.offset + before.sizeBytes - entry.offset : 0;
    return overlap > 0
      ? [{ where: entry.name, message: `overlaps "${before?.name}" by ${overlap} bytes` }]
      : [];
  });
}

function checkEntries(
  path: string,
  raws: readonly RawEntry[],
  dataStart: number,
  alignment: number,
  fileBytes: number,
) {
  const problems: Problem[] = [];
  const entries = new Map<string, GgufEntry>();
  for (const raw of raws) {
    const entry = checkEntry(raw, dataStart, alignment, fileBytes);
    if (typeof entry === "string") problems.push({ where: raw.name, message: entry });
    else if (entries.has(raw.name)) problems.push({ where: raw.name, message: "is given twice" });
    else entries.set(raw.name, entry);
  }
  problems.push(...overlapProblems([...entries.values()]));
  if (problems.length > 0) throw new InputError(`${path} is not a valid GGUF file:`, problems);
  return entries;
}

/** Parses and checks the header of a GGUF file of `fileBytes`, given its first bytes.
 *  @throws NeedMoreBytes if the header is longer than `bytes`; FormatError, InputError, UnsupportedError. */
export function parseGguf(path: string, bytes: Uint8Array, fileBytes: number): GgufHeader {
  const cursor = new Cursor(path, bytes, fileBytes);
  const version = readVersion(cursor, path);
  const tensorCount = cursor.count(24, "the tensor count");
  const values = readValues(cursor, cursor.count(13, "the key count"));
  const raws = Array.from({ length: tensorCount }, (_, i) => readRawEntry(cursor, i));
  const alignment = readAlignment(path, values);
  const dataStart = Math.ceil(cursor.position / alignment) * alignment;
  return { version, alignment, values, entries: checkEntries(path, raws, dataStart, alignment, fileBytes) };
}

import { InputError, type Problem, ShapeError } from "../../errors.ts";
import { writeFileAtomic } from "../../io/disk.ts";
import type { OnProgress } from "../../io/progress.ts";
import { sizeOf } from "../../tensor/tensor.ts";
import { type GgufTensorType, ggufTypeOf, quantize } from "./quantize.ts";
import type { GgufArray, GgufScalarType, GgufTyped } from "./values.ts";

/** A tensor to write. A function as `data` is called when its turn comes, so that one tensor is held at a time. */
export interface GgufInput {
  readonly name: string;
  /** Row-major, outermost first. */
  readonly shape: readonly number[];
  readonly type: GgufTensorType;
  readonly data: Float32Array | (() => Float32Array | Promise<Float32Array>);
}

interface ScalarFormat {
  readonly id: number;
  readonly sizeBytes: number;
  readonly put: (view: DataView, value: number | bigint | boolean) => void;
  /** Inclusive; null for floats and flags. */
  readonly range: readonly [min: bigint, max: bigint] | null;
}

type Put = ScalarFormat["put"];

const unsigned = (bits: number): [bigint, bigint] => [0n, 2n ** BigInt(bits) - 1n];
const signed = (bits: number): [bigint, bigint] => [-(2n ** BigInt(bits - 1)), 2n ** BigInt(bits - 1) - 1n];

function format(id: number, sizeBytes: number, put: Put, range: ScalarFormat["range"]): ScalarFormat {
  return { id, sizeBytes, put, range };
}

/** Ids and sizes of the format's value types; a string (8) and an array (9) have no fixed size. */
const SCALARS: Readonly<Record<Exclude<GgufScalarType, "string">, ScalarFormat>> = {
  uint8: format(0, 1, (v, x) => v.setUint8(0, Number(x)), unsigned(8)),
  int8: format(1, 1, (v, x) => v.setInt8(0, Number(x)), signed(8)),
  uint16: format(2, 2, (v, x) => v.setUint16(0, Number(x), true), unsigned(16)),
  int16: format(3, 2, (v, x) => v.setInt16(0, Number(x), true), signed(16)),
  uint32: format(4, 4, (v, x) => v.setUint32(0, Number(x), true), unsigned(32)),
  int32: format(5, 4, (v, x) => v.setInt32(0, Number(x), true), signed(32)),
  float32: format(6, 4, (v, x) => v.setFloat32(0, Number(x), true), null),
  bool: format(7, 1, (v, x) => v.setUint8(0, x ? 1 : 0), null),
  uint64: format(10, 8, (v, x) => v.setBigUint64(0, BigInt(x), true), unsigned(64)),
  int64: format(11, 8, (v, x) => v.setBigInt64(0, BigInt(x), true), signed(64)),
  float64: format(12, 8, (v, x) => v.setFloat64(0, Number(x), true), null),
};
const STRING = 8;
const ARRAY = 9;

const DEFAULT_ALIGNMENT = 32;
/** Bytes of a tensor's name in ggml, its terminator included. */
const NAME_LIMIT_BYTES = 64;
const DIMENSION_LIMIT = 4;

/** Pieces of a file's head, one after the other. */
class Head {
  readonly #parts: Uint8Array[] = [];
  sizeBytes = 0;

  bytes(bytes: Uint8Array): void {
    this.#parts.push(bytes);
    this.sizeBytes += bytes.length;
  }

  scalar(type: Exclude<GgufScalarType, "string">, value: number | bigint | boolean): void {
    const { sizeBytes, put } = SCALARS[type];
    const bytes = new Uint8Array(sizeBytes);
    put(new DataView(bytes.buffer), value);
    this.bytes(bytes);
  }

  string(value: string): void {
    const bytes = Buffer.from(value, "utf8");
    this.scalar("uint64", bytes.length);
    this.bytes(bytes);
  }

  item(type: GgufScalarType, value: number | bigint | boolean | string): void {
    if (type === "string") this.string(String(value));
    else this.scalar(type, value as number | bigint | boolean);
  }

  array({ items, value }: GgufArray): void {
    this.scalar("uint32", typeId(items));
    this.scalar("uint64", value.length);
    for (const item of value)
      if (typeof item === "object") this.array(item);
      else this.item(items as GgufScalarType, item);
  }

  typed(typed: GgufTyped): void {
    this.scalar("uint32", typeId(typed.type));
    if (typed.type === "array") this.array(typed);
    else this.item(typed.type, typed.value);
  }

  concat(): Uint8Array {
    return Buffer.concat(this.#parts, this.sizeBytes);
  }
}

function typeId(type: GgufScalarType | "array"): number {
  if (type === "string") return STRING;
  return type === "array" ? ARRAY : SCALARS[type].id;
}

function valueProblem(type: GgufScalarType, value: number | bigint | boolean | string): string | null {
  const range = type === "string" ? null : SCALARS[type].range;
  if (range === null) return null;
  const fits = typeof value === "bigint" || Number.isInteger(value);
  if (fits && BigInt(value) >= range[0] && BigInt(value) <= range[1]) return null;
  return `expected ${type}, got ${value}`;
}

function keyProblems(key: string, typed: GgufTyped): Problem[] {
  if (typed.type !== "array") {
    const message = valueProblem(typed.type, typed.value);
    return message === null ? [] : [{ where: key, message }];
  }
  if (typed.items === "array") return typed.value.flatMap((item) => keyProblems(key, item));
  const { items, value } = typed;
  return value.flatMap((item, i) => {
    const message = valueProblem(items, item);
    return message === null ? [] : [{ where: `${key}[${i}]`, message }];
  });
}

function tensorProblems(tensors: readonly GgufInput[]): Problem[] {
  const seen = new Set<string>();
  return tensors.flatMap(({ name, shape, type }) => {
    const { blockSize } = ggufTypeOf(type);
    const messages = [
      seen.has(name) ? "is given twice" : "",
      Buffer.byteLength(name) >= NAME_LIMIT_BYTES ? `has a name of ${NAME_LIMIT_BYTES} bytes or more` : "",
      shape.length > DIMENSION_LIMIT ? `has ${shape.length} dimensions, at most ${DIMENSION_LIMIT}` : "",
      sizeOf(shape) === 0 ? `has no elements, shape [${shape}]` : "",
      (shape.at(-1) ?? 1) % blockSize === 0
        ? ""
        : `rows of [${shape}] do not fill ${type} blocks of ${blockSize}`,
    ];
    seen.add(name);
    return messages.filter(Boolean).map((message) => ({ where: name, message }));
  });
}

function alignmentOf(keys: ReadonlyMap<string, GgufTyped>): number {
  const value = keys.get("general.alignment")?.value ?? DEFAULT_ALIGNMENT;
  if (typeof value === "number" && value >= 1 && Number.isInteger(Math.log2(value))) return value;
  throw new InputError("The GGUF file cannot be written:", [
    { where: "general.alignment", message: `expected a power of two, got ${String(value)}` },
  ]);
}

function padded(size: number, alignment: number): number {
  return Math.ceil(size / alignment) * alignment;
}

function sizeBytesOf({ shape, type }: GgufInput): number {
  const { blockSize, blockBytes } = ggufTypeOf(type);
  return (sizeOf(shape) / blockSize) * blockBytes;
}

function encodeHead(
  keys: ReadonlyMap<string, GgufTyped>,
  tensors: readonly GgufInput[],
  alignment: number,
): Uint8Array {
  const head = new Head();
  head.bytes(Buffer.from("GGUF"));
  head.scalar("uint32", 3);
  head.scalar("uint64", tensors.length);
  head.scalar("uint64", keys.size);
  for (const [key, typed] of keys) {
    head.string(key);
    head.typed(typed);
  }
  let offset = 0;
  for (const tensor of tensors) {
    const { name, shape, type } = tensor;
    head.string(name);
    head.scalar("uint32", shape.length);
    for (const size of shape.toReversed()) head.scalar("uint64", size);
    head.scalar("uint32", ggufTypeOf(type).id);
    head.scalar("uint64", offset);
    offset += padded(sizeBytesOf(tensor), alignment);
  }
  head.bytes(new Uint8Array(padded(head.sizeBytes, alignment) - head.sizeBytes));
  return head.concat();
}

async function encodeTensor({ name, shape, type, data }: GgufInput): Promise<Uint8Array> {
  const values = typeof data === "function" ? await data() : data;
  if (values.length !== sizeOf(shape))
    throw new ShapeError(
      `"${name}" of shape [${shape}] needs ${sizeOf(shape)} elements, got ${values.length}`,
    );
  return quantize(type, values, name);
}

/** Writes a GGUF file, version 3, little-endian (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md): keys and tensors
 *  in the order given, data aligned to `general.alignment` (32 where it is not among the keys). One tensor is in memory at a
 *  time; `path` is never half-written.
 *  @throws InputError listing keys and tensors that the format cannot hold; ShapeError if data does not fit its shape;
 *  LowrankError ("storage") if the disk does not take it. */
export async function writeGguf(
  path: string,
  keys: ReadonlyMap<string, GgufTyped>,
  tensors: readonly GgufInput[],
  options: { readonly onProgress?: OnProgress; readonly signal?: AbortSignal } = {},
): Promise<void> {
  const problems = [
    ...[...keys].flatMap(([key, typed]) => keyProblems(key, typed)),
    ...tensorProblems(tensors),
  ];
  if (problems.length > 0) throw new InputError(`${path} cannot be written:`, problems);
  const alignment = alignmentOf(keys);
  const totalBytes = tensors.reduce((sum, tensor) => sum + padded(sizeBytesOf(tensor), alignment), 0);
  await writeFileAtomic(path, async (write) => {
    await write(encodeHead(keys, tensors, alignment));
    let doneBytes = 0;
    for (const tensor of tensors) {
      options.signal?.throwIfAborted();
      const bytes = await encodeTensor(tensor);
      await write(bytes);
      await write(new Uint8Array(padded(bytes.length, alignment) - bytes.length));
      doneBytes += padded(bytes.length, alignment);
      options.onProgress?.({ what: tensor.name, doneBytes, totalBytes });
    }
  });
}

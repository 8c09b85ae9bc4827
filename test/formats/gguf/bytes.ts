/** Writes GGUF files for tests, valid ones and broken ones (layout: ggml's docs/gguf.md). */

/** A typed value: the type id of the format and how many bytes it takes is up to `encode`. */
export type Value = number | boolean | string | Value[] | { readonly type: number; readonly value: Value };

export interface TestTensor {
  readonly name: string;
  /** As the file has them: innermost first. */
  readonly dimensions: readonly (number | bigint)[];
  readonly type: number;
  readonly data: Uint8Array;
  /** Instead of the next free place. */
  readonly offset?: bigint;
}

export interface TestGguf {
  readonly version?: number;
  readonly values?: Readonly<Record<string, Value>>;
  readonly tensors?: readonly TestTensor[];
  /** Instead of the true counts. */
  readonly tensorCount?: bigint;
  readonly valueCount?: bigint;
  readonly alignment?: number;
}

const u32 = (n: number): Buffer => {
  const b = Buffer.alloc(4);
  b.writeUInt32LE(n);
  return b;
};

const u64 = (n: bigint): Buffer => {
  const b = Buffer.alloc(8);
  b.writeBigUInt64LE(n);
  return b;
};

const text = (s: string): Buffer => Buffer.concat([u64(BigInt(Buffer.byteLength(s))), Buffer.from(s)]);

/** Type id: explicit, or by kind (string 8, bool 7, array 9, whole number uint32 4, other number float32 6). */
function typeOf(value: Value): number {
  if (typeof value === "string") return 8;
  if (typeof value === "boolean") return 7;
  if (Array.isArray(value)) return 9;
  if (typeof value === "object") return value.type;
  return Number.isInteger(value) ? 4 : 6;
}

function encode(value: Value, type: number = typeOf(value)): Buffer {
  if (typeof value === "object" && !Array.isArray(value)) return encode(value.value, value.type);
  if (Array.isArray(value)) {
    const itemType = value.length > 0 ? typeOf(value[0] as Value) : 4;
    return Buffer.concat([
      u32(itemType),
      u64(BigInt(value.length)),
      ...value.map((v) => encode(v, itemType)),
    ]);
  }
  if (typeof value === "string") return text(value);
  const b = Buffer.alloc(8);
  const writers: Record<number, () => number> = {
    0: () => b.writeUInt8(Number(value)),
    1: () => b.writeInt8(Number(value)),
    2: () => b.writeUInt16LE(Number(value)),
    3: () => b.writeInt16LE(Number(value)),
    4: () => b.writeUInt32LE(Number(value)),
    5: () => b.writeInt32LE(Number(value)),
    6: () => b.writeFloatLE(Number(value)),
    7: () => b.writeUInt8(Number(value)),
    10: () => b.writeBigUInt64LE(BigInt(value)),
    11: () => b.writeBigInt64LE(BigInt(value)),
    12: () => b.writeDoubleLE(Number(value)),
  };
  return b.subarray(0, writers[type]?.() ?? 0);
}

/** Bytes of a GGUF file. */
export function ggufBytes(file: TestGguf): Uint8Array {
  const { version = 3, values = {}, tensors = [], alignment = 32 } = file;
  const parts: Buffer[] = [
    Buffer.from("GGUF"),
    u32(version),
    u64(file.tensorCount ?? BigInt(tensors.length)),
    u64(file.valueCount ?? BigInt(Object.keys(values).length)),
  ];
  for (const [key, value] of Object.entries(values)) parts.push(text(key), u32(typeOf(value)), encode(value));
  let offset = 0;
  const data: Buffer[] = [];
  for (const tensor of tensors) {
    parts.push(text(tensor.name), u32(tensor.dimensions.length));
    for (const d of tensor.dimensions) parts.push(u64(BigInt(d)));
    parts.push(u32(tensor.type), u64(tensor.offset ?? BigInt(offset)));
    const padded = Buffer.alloc(Math.ceil(tensor.data.length / alignment) * alignment);
    padded.set(tensor.data);
    data.push(padded);
    offset += padded.length;
  }
  const head = Buffer.concat(parts);
  return Buffer.concat([head, Buffer.alloc((alignment - (head.length % alignment)) % alignment), ...data]);
}

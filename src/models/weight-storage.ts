import { sizeOf } from "../tensor/tensor.ts";
import type { ModuleSpec, WeightSpec } from "./family.ts";
import { BLOCK_SIZE, dequantizeRows, type QuantizedBits, quantizeRows } from "./quantize.ts";

/** Bits that the base's matrices are kept in; 32: all as floats. */
export type BaseBits = 32 | QuantizedBits;

/** Bytes of a weight that lie together. */
export interface StoredPart {
  readonly name: string;
  readonly sizeBytes: number;
}

/** How one weight lies in the file. */
export interface WeightStorage {
  readonly bits: BaseBits;
  readonly parts: readonly StoredPart[];
  /** Values → the parts, in their order. */
  encode(values: Float32Array): readonly Uint8Array[];
  /** The way back, for values that the runtime computes with. */
  decode(parts: readonly Uint8Array[]): Float32Array;
}

/** Parts of a quantized weight. */
export type WeightPart = "quanta" | "scales" | "zeroPoints";

/** Name of a part in the file. */
export function partName(path: string, part: WeightPart): string {
  return `${path}.${part}`;
}

function bytesOf(data: Float32Array): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

function floatsOf(bytes: Uint8Array): Float32Array {
  return new Float32Array(bytes.slice().buffer);
}

function floatStorage({ path, shape }: WeightSpec): WeightStorage {
  return {
    bits: 32,
    parts: [{ name: path, sizeBytes: 4 * sizeOf(shape) }],
    encode: (values) => [bytesOf(values)],
    decode: ([bytes]) => floatsOf(bytes as Uint8Array),
  };
}

/** Every weight as float32. */
export function floatStorages(specs: readonly WeightSpec[]): ReadonlyMap<string, WeightStorage> {
  return new Map(specs.map((spec) => [spec.path, floatStorage(spec)]));
}

function quantizedStorage({ path, shape }: WeightSpec, bits: QuantizedBits): WeightStorage {
  const size = sizeOf(shape);
  const parts = [
    { name: partName(path, "quanta"), sizeBytes: (size * bits) / 8 },
    { name: partName(path, "scales"), sizeBytes: (4 * size) / BLOCK_SIZE },
    ...(bits === 4 ? [{ name: partName(path, "zeroPoints"), sizeBytes: size / BLOCK_SIZE / 2 }] : []),
  ];
  return {
    bits,
    parts,
    encode: (values) => {
      const { quanta, scales, zeroPoints } = quantizeRows(values, bits);
      return [quanta, bytesOf(scales), zeroPoints].slice(0, parts.length);
    },
    decode: ([quanta, scales, zeroPoints = new Uint8Array(0)]) =>
      dequantizeRows(
        { quanta: quanta as Uint8Array, scales: floatsOf(scales as Uint8Array), zeroPoints },
        bits,
      ),
  };
}

/** Rows of quantized matrices are so many elements or a multiple: two blocks, as zero points of 4 bits come in pairs. */
export const ROW_MULTIPLE: number = 2 * BLOCK_SIZE;

/** Bits of a weight. Matrices of linear modules are quantized if their rows are whole blocks. The output layer keeps 8 bits,
 *  and so does an embedding that it shares: it is where 4 bits cost most. Norms, biases and other embeddings stay floats. */
function bitsOf({ path, module, shape }: WeightSpec, bits: BaseBits, tied: ReadonlySet<string>): BaseBits {
  const rowSize = shape[1];
  if (bits === 32 || !path.endsWith(".weight") || rowSize === undefined || rowSize % ROW_MULTIPLE !== 0)
    return 32;
  if (module.kind === "linear") return module.isOutput ? 8 : bits;
  return module.kind === "embedding" && tied.has(module.path) ? 8 : 32;
}

/** How each weight of a model is kept. */
export function weightStorages(
  modules: readonly ModuleSpec[],
  specs: readonly WeightSpec[],
  bits: BaseBits,
): ReadonlyMap<string, WeightStorage> {
  const tied = new Set(modules.flatMap((m) => (m.kind === "linear" && m.tiedTo ? [m.tiedTo] : [])));
  return new Map(
    specs.map((spec) => {
      const own = bitsOf(spec, bits, tied);
      return [spec.path, own === 32 ? floatStorage(spec) : quantizedStorage(spec, own)];
    }),
  );
}

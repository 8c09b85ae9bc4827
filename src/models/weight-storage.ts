import { floats, sizeOf } from "../tensor/tensor.ts";
import { transposed } from "../tensor/transpose.ts";
import type { ModuleSpec, WeightSpec } from "./family.ts";
import { BLOCK_SIZE, dequantizeRows, type QuantizedBits, quantizeRows, type Steps } from "./quantize.ts";

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
  readonly steps: Steps;
  readonly parts: readonly StoredPart[];
  /** Values → the parts, in their order. */
  encode(values: Float32Array): readonly Uint8Array[];
  /** The way back, for values that the runtime computes with. */
  decode(parts: readonly Uint8Array[]): Float32Array;
}

/** Parts of a quantized weight. */
export type WeightPart = "quanta" | "scales" | "zeroPoints" | "offsets";

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
    steps: "zero",
    parts: [{ name: path, sizeBytes: 4 * sizeOf(shape) }],
    encode: (values) => [bytesOf(values)],
    decode: ([bytes]) => floatsOf(bytes as Uint8Array),
  };
}

/** Every weight as float32. */
export function floatStorages(specs: readonly WeightSpec[]): ReadonlyMap<string, WeightStorage> {
  return new Map(specs.map((spec) => [spec.path, floatStorage(spec)]));
}

/** Offsets lie [k/32, n]: the order in which the product with a row's block sums reads them fastest. */
function quantizedStorage({ path, shape }: WeightSpec, bits: QuantizedBits, steps: Steps): WeightStorage {
  const size = sizeOf(shape);
  const [rows, blocks] = [shape[0] as number, (shape[1] as number) / BLOCK_SIZE];
  const hasOffsets = bits === 4 && steps === "range";
  const hasZeroPoints = bits === 4 && steps === "zero";
  return {
    bits,
    steps,
    parts: [
      { name: partName(path, "quanta"), sizeBytes: (size * bits) / 8 },
      { name: partName(path, "scales"), sizeBytes: (4 * size) / BLOCK_SIZE },
      ...(hasZeroPoints ? [{ name: partName(path, "zeroPoints"), sizeBytes: size / BLOCK_SIZE / 2 }] : []),
      ...(hasOffsets ? [{ name: partName(path, "offsets"), sizeBytes: (4 * size) / BLOCK_SIZE }] : []),
    ],
    encode: (values) => {
      const { quanta, scales, zeroPoints, offsets } = quantizeRows(values, bits, steps);
      const last = zeroPoints ?? (offsets && bytesOf(transposed(floats(offsets, [rows, blocks])).data));
      return [quanta, bytesOf(scales), ...(last ? [last] : [])];
    },
    decode: ([quanta, scales, last]) => {
      const zeroPoints = hasZeroPoints ? (last as Uint8Array) : null;
      const offsets = hasOffsets
        ? transposed(floats(floatsOf(last as Uint8Array), [blocks, rows])).data
        : null;
      const parts = {
        quanta: quanta as Uint8Array,
        scales: floatsOf(scales as Uint8Array),
        zeroPoints,
        offsets,
      };
      return dequantizeRows(parts, bits);
    },
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

/** Weights of these GGUF types are kept as they are by steps over a block's range. */
const RANGE_TYPES: readonly string[] = ["Q4_1"];

/** How each weight of a model is kept. `typeOf` is the type it has on disk. */
export function weightStorages(
  modules: readonly ModuleSpec[],
  specs: readonly WeightSpec[],
  bits: BaseBits,
  typeOf: (path: string) => string | undefined,
): ReadonlyMap<string, WeightStorage> {
  const tied = new Set(modules.flatMap((m) => (m.kind === "linear" && m.tiedTo ? [m.tiedTo] : [])));
  const stepsOf = (path: string): Steps => (RANGE_TYPES.includes(typeOf(path) ?? "") ? "range" : "zero");
  return new Map(
    specs.map((spec) => {
      const own = bitsOf(spec, bits, tied);
      return [spec.path, own === 32 ? floatStorage(spec) : quantizedStorage(spec, own, stepsOf(spec.path))];
    }),
  );
}

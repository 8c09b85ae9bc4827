import { type GgufTensorType, quantize } from "./quantize.ts";
import { dequantize } from "./quants.ts";

/** How near a type comes to a float32. */
interface Rounding {
  /** Elements that share a scale. */
  readonly blockSize: number;
  /** Largest error of `x`, in a block whose element largest in size is `extreme`. */
  readonly bound: (x: number, extreme: number) => number;
}

/** A scale is stored as a half, so that every multiple of it is off by that much more; the arithmetic is float32's. */
const SCALE = 2 ** -11 + 2 ** -20;
/** Half of the smallest step of a half: scales below it are 0. */
const SMALLEST = 2 ** -25;

/** Half a step of each type; beyond the last step, what is cut off (Q4_0 has 8 steps to one side and 7 to the other). */
const ROUNDINGS: Readonly<Record<Exclude<GgufTensorType, SearchedType>, Rounding>> = {
  F32: { blockSize: 1, bound: () => 0 },
  F16: { blockSize: 1, bound: (x) => Math.max(Math.abs(x) * 2 ** -11, SMALLEST) },
  BF16: { blockSize: 1, bound: (x) => Math.max(Math.abs(x) * 2 ** -8, 2 ** -134) },
  Q8_0: { blockSize: 32, bound: (_x, extreme) => extreme / 254 + SCALE * extreme + 127 * SMALLEST },
  Q4_0: {
    blockSize: 32,
    bound: (x, extreme) =>
      Math.max(extreme / 16, Math.abs(x) - (extreme * 7) / 8) + SCALE * extreme + 8 * SMALLEST,
  },
  Q5_0: {
    blockSize: 32,
    bound: (x, extreme) =>
      Math.max(extreme / 32, Math.abs(x) - (extreme * 15) / 16) + SCALE * extreme + 16 * SMALLEST,
  },
  // The range is up to twice the largest; it and the least are halves.
  Q5_1: {
    blockSize: 32,
    bound: (_x, extreme) => extreme / 31 + 3 * SCALE * extreme + 32 * SMALLEST,
  },
};

/** K-quants search their steps: how near they come is known by making them again only. */
type SearchedType = "Q4_K" | "Q5_K" | "Q6_K";

function isSearched(type: GgufTensorType): type is SearchedType {
  return type.endsWith("_K");
}

/** The first element that is not what the quantizer makes of the values. */
function beyondSearch(
  type: SearchedType,
  values: Float32Array,
  stored: Float32Array,
  offset: number,
): RoundingError | null {
  const shifted = offset === 0 ? values : values.map((x) => x + offset);
  const made = dequantize(type, quantize(type, shifted, "the expected weight"));
  for (let index = 0; index < values.length; index++) {
    const [expected, got] = [(made[index] as number) - offset, stored[index] as number];
    const allowed = offset === 0 ? 0 : (Math.abs(expected) + Math.abs(offset)) * 2 ** -23;
    if (!(Math.abs(got - expected) <= allowed)) return { index, expected, got, allowed };
  }
  return null;
}

/** An element that its type's rounding does not explain. */
export interface RoundingError {
  readonly index: number;
  readonly expected: number;
  readonly got: number;
  readonly allowed: number;
}

/** The first element of `stored`, read from a type, that is further from the float32 it stands for than the type's rounding
 *  makes it; null if there is none. `offset`: what was added to the values before they were stored, and taken off again.
 *  NaN is never explained. */
export function beyondRounding(
  type: GgufTensorType,
  values: Float32Array,
  stored: Float32Array,
  offset = 0,
): RoundingError | null {
  if (isSearched(type)) return beyondSearch(type, values, stored, offset);
  const { blockSize, bound } = ROUNDINGS[type];
  for (let from = 0; from < values.length; from += blockSize) {
    const end = Math.min(from + blockSize, values.length);
    let extreme = 0;
    for (let i = from; i < end; i++) extreme = Math.max(extreme, Math.abs(values[i] as number));
    for (let index = from; index < end; index++) {
      const [expected, got] = [values[index] as number, stored[index] as number];
      const shifted = offset === 0 ? 0 : (Math.abs(expected) + Math.abs(offset)) * 2 ** -23;
      const allowed = bound(expected, extreme) + shifted;
      if (!(Math.abs(got - expected) <= allowed)) return { index, expected, got, allowed };
    }
  }
  return null;
}

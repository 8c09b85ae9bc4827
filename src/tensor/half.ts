let widened: Float32Array | undefined;

function halfValue(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >>> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0x1f) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** [65536] float32 value of every IEEE 754 half: a look-up is several times faster than the arithmetic. */
export function halfTable(): Float32Array {
  widened ??= Float32Array.from({ length: 65536 }, (_, bits) => halfValue(bits));
  return widened;
}

/** IEEE 754 half → float32, exact. `out` has at least as many elements as `bits`. */
export function fromHalf(bits: Uint16Array, out: Float32Array): void {
  const table = halfTable();
  for (let i = 0; i < bits.length; i++) out[i] = table[bits[i] as number] as number;
}

/** bfloat16 → float32, exact: the upper 16 bits of the float. */
export function fromBrainFloat(bits: Uint16Array, out: Float32Array): void {
  const words = new Uint32Array(out.buffer, out.byteOffset, out.length);
  for (let i = 0; i < bits.length; i++) words[i] = (bits[i] as number) << 16;
}

/** Bits of the half nearest to a float32 given by its bits; ties go to the even one, too large becomes infinite. */
function halfBits(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00; // NaN
  if (magnitude >= 0x477ff000) return sign | 0x7c00; // ≥ 65520 rounds to infinity
  if (magnitude >= 0x38800000) {
    const rounded = magnitude + 0xfff + ((magnitude >>> 13) & 1);
    return sign | ((rounded - 0x38000000) >>> 13);
  }
  if (magnitude < 0x33000000) return sign; // below half of the smallest subnormal
  const shift = 126 - (magnitude >>> 23);
  const fraction = (magnitude & 0x7fffff) | 0x800000;
  const kept = fraction >>> shift;
  const rest = fraction & (2 ** shift - 1);
  const tie = 2 ** (shift - 1);
  return sign | (kept + (rest > tie || (rest === tie && (kept & 1) === 1) ? 1 : 0));
}

/** float32 → IEEE 754 half, round to nearest even. */
export function toHalf(values: Float32Array): Uint16Array {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const out = new Uint16Array(values.length);
  for (let i = 0; i < words.length; i++) out[i] = halfBits(words[i] as number);
  return out;
}

/** float32 → bfloat16, round to nearest even; NaN stays NaN. */
export function toBrainFloat(values: Float32Array): Uint16Array {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const out = new Uint16Array(values.length);
  for (let i = 0; i < words.length; i++) {
    const bits = words[i] as number;
    const nan = (bits & 0x7fffffff) > 0x7f800000;
    out[i] = nan ? (bits >>> 16) | 0x40 : (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
  }
  return out;
}

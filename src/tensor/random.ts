/** Seeded random numbers: sfc32, 128 bits of state that can be saved and restored exactly. */
export interface Random {
  /** Uniform in [0, 1). */
  uniform(): number;
  /** Uniform 32-bit unsigned integer. */
  uint32(): number;
  /** Standard normal (Box-Muller, no carried state). */
  normal(): number;
  /** Uniform integer in [0, n). */
  below(n: number): number;
  /** The four state words: `random(seed)` restored by `restoreRandom(state)` goes on exactly. */
  state(): RandomState;
}

/** Four uint32 words. */
export type RandomState = readonly [number, number, number, number];

/** Generator continuing from a saved state. */
export function restoreRandom(state: RandomState): Random {
  let [a, b, c, d] = state;
  const uint32 = (): number => {
    const t = (((a + b) | 0) + d) | 0;
    d = (d + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (c << 21) | (c >>> 11);
    c = (c + t) | 0;
    return t >>> 0;
  };
  const uniform = (): number => uint32() / 4294967296;
  return {
    uint32,
    uniform,
    normal: () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()),
    below: (n) => Math.floor(uniform() * n),
    state: () => [a >>> 0, b >>> 0, c >>> 0, d >>> 0],
  };
}

/** Generator for a seed; `stream` names an independent sequence under the same seed (FNV-1a of the name). */
export function random(seed: number, stream = ""): Random {
  let h = 2166136261;
  for (const ch of stream) h = Math.imul(h ^ (ch.codePointAt(0) ?? 0), 16777619);
  const generator = restoreRandom([seed >>> 0, Math.floor(seed / 4294967296) >>> 0, h >>> 0, 1]);
  for (let i = 0; i < 16; i++) generator.uint32(); // mix the seed into every word
  return generator;
}

/** Fisher-Yates permutation of 0 … n-1. */
export function permutation(n: number, generator: Random): Int32Array {
  const order = Int32Array.from({ length: n }, (_, i) => i);
  for (let i = n - 1; i > 0; i--) {
    const j = generator.below(i + 1);
    [order[i], order[j]] = [order[j] as number, order[i] as number];
  }
  return order;
}

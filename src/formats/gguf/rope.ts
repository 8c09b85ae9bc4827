import { FormatError } from "../../errors.ts";
import { rotaryFrequencies } from "../rope.ts";
import type { GgufFile } from "./file.ts";

/** Llama 3.1's constants, which every known model of that scaling uses; only the factor differs. */
const LOW_FREQ_FACTOR = 1;
const HIGH_FREQ_FACTOR = 4;
const ORIGINAL_MAX_POSITIONS = 8192;
/** The factors are stored as float32 of a short computation; a wrong constant is off by several percent. */
const RELATIVE_TOLERANCE = 1e-3;

/** The divisors are those of Llama 3.1's scaling. */
function isLlama3(divisors: Float32Array, theta: number, headDim: number, factor: number): boolean {
  if (divisors.length !== headDim / 2) return false;
  const constants = {
    lowFreqFactor: LOW_FREQ_FACTOR,
    highFreqFactor: HIGH_FREQ_FACTOR,
    originalMaxPositions: ORIGINAL_MAX_POSITIONS,
  };
  const plain = rotaryFrequencies({ theta, scaling: { kind: "none" } }, headDim);
  const scaled = rotaryFrequencies({ theta, scaling: { kind: "llama3", factor, ...constants } }, headDim);
  return divisors.every((divisor, i) => {
    const expected = (plain[i] as number) / (scaled[i] as number);
    return Math.abs(divisor - expected) <= RELATIVE_TOLERANCE * expected;
  });
}

/** The `rope_scaling` of config.json that a `rope_freqs.weight` tensor ([headDim / 2] frequency divisors) amounts to;
 *  null without that tensor.
 *  @throws FormatError if the divisors are not those of Llama 3.1's scaling. */
export async function ropeScalingOfFreqs(
  gguf: GgufFile,
  theta: number,
  headDim: number,
): Promise<Readonly<Record<string, unknown>> | null> {
  if (!gguf.entries.has("rope_freqs.weight")) return null;
  const { data } = await gguf.read("rope_freqs.weight");
  const factor = data.reduce((most, x) => Math.max(most, x), 0);
  if (!isLlama3(data, theta, headDim, factor))
    throw new FormatError(
      gguf.path,
      `rope_freqs.weight holds ${data.length} divisors that are not Llama 3.1's rope scaling; no other is supported`,
    );
  if (factor === 1) return null;
  return {
    rope_type: "llama3",
    factor,
    low_freq_factor: LOW_FREQ_FACTOR,
    high_freq_factor: HIGH_FREQ_FACTOR,
    original_max_position_embeddings: ORIGINAL_MAX_POSITIONS,
  };
}

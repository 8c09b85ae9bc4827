import { FormatError } from "../errors.ts";
import type { GgufFile } from "./gguf.ts";

/** Llama 3.1's constants, which every known model of that scaling uses; only the factor differs. */
const LOW_FREQ_FACTOR = 1;
const HIGH_FREQ_FACTOR = 4;
const ORIGINAL_MAX_POSITIONS = 8192;
/** The factors are stored as float32 of a short computation; a wrong constant is off by several percent. */
const RELATIVE_TOLERANCE = 1e-3;

/** Divisor of one rotary frequency under Llama 3.1's scaling, as converters to GGUF compute it. */
function llama3Divisor(frequency: number, factor: number): number {
  const wavelength = (2 * Math.PI) / frequency;
  const turns = ORIGINAL_MAX_POSITIONS / wavelength;
  if (turns > HIGH_FREQ_FACTOR) return 1;
  if (turns < LOW_FREQ_FACTOR) return factor;
  const smooth = (turns - LOW_FREQ_FACTOR) / (HIGH_FREQ_FACTOR - LOW_FREQ_FACTOR);
  return 1 / ((1 - smooth) / factor + smooth);
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
  const fits = data.every((x, i) => {
    const expected = llama3Divisor(theta ** ((-2 * i) / headDim), factor);
    return Math.abs(x - expected) <= RELATIVE_TOLERANCE * expected;
  });
  if (!fits || data.length !== headDim / 2)
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

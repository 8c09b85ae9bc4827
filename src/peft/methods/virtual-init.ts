import { InputError } from "../../errors.ts";
import type { Random } from "../../tensor/random.ts";
import type { FloatTensor } from "../../tensor/tensor.ts";
import type { Tokenizer } from "../../text/tokenizer.ts";
import type { Trainable } from "../method.ts";
import type { ModelShape } from "../model-shape.ts";

type Base = (path: string) => Promise<FloatTensor>;

const EMBEDDING = "embed.weight";

/** Starting values drawn from a normal distribution as wide as the token embeddings, which are the weight times `factor`. */
function gaussianInit(size: number, factor: number): Trainable["init"] {
  return async (generator, base) => normal(size, factor * (await rootMeanSquare(base)), generator);
}

/** Starting values [count, hiddenSize] of virtual tokens: the embeddings of a text, or random ones.
 *  @throws InputError if the text has no tokens */
export function virtualInit(text: string | null, count: number, shape: ModelShape): Trainable["init"] {
  const { hiddenSize, embeddingScale = 1 } = shape.config;
  return text !== null && shape.tokenizer
    ? textInit(text, count, shape.tokenizer, embeddingScale)
    : gaussianInit(count * hiddenSize, embeddingScale);
}

function normal(size: number, scale: number, generator: Random): Float32Array {
  return Float32Array.from({ length: size }, () => scale * generator.normal());
}

/** Root mean square of the embedding's elements. */
async function rootMeanSquare(base: Base): Promise<number> {
  const { data } = await base(EMBEDDING);
  let squares = 0;
  for (const x of data) squares += x * x;
  return Math.sqrt(squares / data.length);
}

/** The embeddings of a text's tokens, cut or repeated to `count` (PEFT's `prompt_tuning_init` TEXT). */
function textInit(text: string, count: number, tokenizer: Tokenizer, factor: number): Trainable["init"] {
  const bos = tokenizer.addBos && tokenizer.bosId !== null ? [tokenizer.bosId] : [];
  const own = tokenizer.encode(text);
  if (own.length === 0)
    throw new InputError("the virtual tokens cannot start from this text", [
      { where: "prefixText", message: "has no tokens" },
    ]);
  const ids = [...bos, ...own];
  return async (_generator, base) => {
    const { data, shape } = await base(EMBEDDING);
    const width = shape[1] as number;
    const rows = new Float32Array(count * width);
    for (let i = 0; i < count; i++) {
      const id = ids[i % ids.length] as number;
      rows.set(data.subarray(id * width, (id + 1) * width), i * width);
    }
    return factor === 1 ? rows : rows.map((x) => factor * x);
  };
}

import { ContextError, InputError, type Problem } from "../errors.ts";
import type { BaseModel } from "../models/base.ts";
import { type EncodedSequence, sequenceEncoder } from "../text/sequence.ts";

/** What is made a vector of: ids, and which sequence they count to. */
export type EmbedSequence = Pick<EncodedSequence, "ids" | "types">;

/** Inputs as tokens: texts with the tokenizer's special tokens, token ids as they are. Nothing is cut.
 *  @throws InputError, ContextError with everything that is wrong */
export function embedInputs(
  base: BaseModel,
  inputs: readonly (string | readonly number[])[],
  contextLength: number,
): readonly EmbedSequence[] {
  const encode = sequenceEncoder(base.tokenizer, base.source.tokenizer.tokenizerJson);
  const problems: Problem[] = [];
  const overflow: Problem[] = [];
  const tooLong = (where: string, count: number, unit: string, most: number): null => {
    overflow.push({ where, message: `has ${count} ${unit}; this model takes at most ${most}` });
    return null;
  };
  const most = contextLength * base.tokenizer.longestToken;
  const sequences = inputs.map((given, i): EmbedSequence | null => {
    const where = inputs.length === 1 ? "input" : `input[${i}]`;
    if (given.length === 0) {
      problems.push({ where, message: "is empty" });
      return null;
    }
    // Work that is for nothing is not begun.
    if (typeof given === "string" && given.length > most)
      return tooLong(where, given.length, "characters", most);
    const ids = typeof given === "string" ? null : given;
    const wrong = ids?.find((id) => !Number.isInteger(id) || id < 0 || id >= base.config.vocabSize);
    if (wrong !== undefined) {
      problems.push({
        where,
        message: `the model has tokens 0 to ${base.config.vocabSize - 1}, got ${wrong}`,
      });
      return null;
    }
    const sequence =
      typeof given === "string"
        ? encode(given, null, Number.MAX_SAFE_INTEGER)
        : { ids: given, types: given.map(() => 0) };
    const { length } = sequence.ids;
    return length > contextLength ? tooLong(where, length, "tokens", contextLength) : sequence;
  });
  if (inputs.length === 0) problems.push({ where: "input", message: "is empty" });
  const title = "no embeddings can be made of";
  if (overflow.length > 0) throw new ContextError(title, [...overflow, ...problems], contextLength);
  if (problems.length > 0) throw new InputError(title, problems);
  return sequences.filter((one) => one !== null);
}

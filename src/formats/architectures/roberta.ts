import type { Fields } from "../fields.ts";
import type { Architecture } from "./architecture.ts";
import { bertParser, bertRows, classifierConfig } from "./bert-like.ts";

const NAME = "RobertaForSequenceClassification";

/** Positions count from the padding id + 1. */
function firstPosition(config: Fields): number {
  const padding = config.raw("pad_token_id") ?? 1;
  if (Number.isSafeInteger(padding) && (padding as number) >= 0) return (padding as number) + 1;
  config.problem("pad_token_id", `expected a whole number, got ${JSON.stringify(padding)}`);
  return 2;
}

/** RoBERTa, with the head that classifies sequences; checkpoints of the base alone, or with a head for masked words, get a
 *  new one. */
export const roberta: Architecture = {
  name: NAME,
  otherNames: ["RobertaModel", "RobertaForMaskedLM"],
  modelType: "roberta",
  peftTargets: ["query", "value"],
  family: "roberta",
  names: {
    basePrefix: "roberta.",
    ignored: /^lm_head\.|(^|\.)pooler\.|(^|\.)embeddings\.position_ids$/,
    rows: [
      ...bertRows("roberta."),
      { ours: "classifier.dense", hf: "classifier.dense", gguf: "cls" },
      { ours: "classifier.out", hf: "classifier.out_proj", gguf: "cls.output" },
    ],
  },
  parse: bertParser(firstPosition),
  gguf: null,
  loraTargets: ["query", "value"],
  headModules: ["classifier"],
  withClassifier: classifierConfig(NAME),
};

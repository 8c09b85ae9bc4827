import type { Architecture } from "./architecture.ts";
import { bertParser, bertRows, classifierConfig } from "./bert-like.ts";

const NAME = "BertForSequenceClassification";

/** BERT, with the head that classifies sequences; checkpoints of the base alone, or with a head for masked words, get a new
 *  one. */
export const bert: Architecture = {
  name: NAME,
  otherNames: ["BertModel", "BertForMaskedLM", "BertForPreTraining", "BertForNextSentencePrediction"],
  modelType: "bert",
  peftTargets: ["query", "value"],
  family: "bert",
  names: {
    basePrefix: "bert.",
    ignored: /^cls\.|(^|\.)embeddings\.position_ids$/,
    rows: [
      ...bertRows("bert."),
      { ours: "pooler", hf: "bert.pooler.dense", gguf: null },
      { ours: "classifier", hf: "classifier", gguf: "cls" },
    ],
  },
  parse: bertParser(() => 0),
  gguf: null,
  loraTargets: ["query", "value"],
  headModules: ["classifier"],
  withClassifier: classifierConfig(NAME),
};

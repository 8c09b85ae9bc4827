import { previewExample } from "../../data/encode.ts";
import { languageModelling } from "../../objectives/language-modelling.ts";
import { realTokens } from "../../peft/virtual-tokens.ts";
import { answer, promptsOf } from "../samples.ts";
import type { Task } from "./task.ts";

const SAMPLE_TOKENS = 64;

const samples: Task["samples"] = async (request) => {
  const { runtime, model, base, rows, count, maxLength, signal, group } = request;
  const prompts = promptsOf(base, model.methods, rows.slice(0, 4 * count), maxLength).slice(0, count);
  if (prompts.length === 0) return [];
  const options = { maxTokens: SAMPLE_TOKENS, batchSize: prompts.length, signal, group };
  return answer(runtime, model, base, prompts, options);
};

/** Predicting the next token, of a decoder. */
export const languageModellingTask: Task = {
  name: "language-modelling",
  summary: "predict the next token",
  objective: languageModelling,
  command: "generate",
  peftName: "CAUSAL_LM",
  fits: ({ config }) => config.encoder === undefined,
  suits: () => true,
  prepare: (base) => base,
  checkMethods: () => undefined,
  preview: (example, base) => previewExample(realTokens(example, base.config.vocabSize), base.tokenizer),
  samples,
};

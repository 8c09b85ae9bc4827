import type { Example } from "../../data/batch.ts";
import { previewExample } from "../../data/encode.ts";
import { encodeDataset } from "../../data/examples.ts";
import { packTrie, trieSize } from "../../data/trie.ts";
import { InputError } from "../../errors.ts";
import { crossEntropy, mul, topIsLabel, total } from "../../graph/ops/index.ts";
import { apply, type Value } from "../../graph/value.ts";
import { realTokens, virtualCount, virtualExample, virtualLayout } from "../../peft/virtual-tokens.ts";
import { answer, promptsOf } from "../samples.ts";
import type { Edges, Scorer, Task } from "./task.ts";

const SAMPLE_TOKENS = 64;

/** Σ of weights where the top logit is the label, []. */
function correct({ logits, labels, weights }: Edges): Value {
  return apply("ReduceSum", [mul(topIsLabel(logits, labels), weights)], [], { keepdims: 0 }, null);
}

function scorer(): Scorer {
  let hits = 0;
  return {
    add: ({ correct }) => {
      hits += Number(correct?.data[0]);
    },
    measures: (loss, labelCount) => ({ perplexity: Math.exp(loss), tokenAccuracy: hits / labelCount }),
  };
}

const encode: Task["encode"] = async (rows, base, choice, methods) => {
  const { tokenizer, template, eosIds } = base;
  const layout = virtualLayout(methods, base.config.vocabSize);
  const added = virtualCount(layout);
  const maxLength = choice.maxLength - added;
  if (added > 0 && maxLength < 2) {
    const message = `expected at least ${added + 2}, ${added} virtual tokens and 2 of an example, got ${choice.maxLength}`;
    throw new InputError("the examples have no room", [{ where: "maxLength", message }]);
  }
  const finish = (example: Example): Example => virtualExample(example, layout);
  return encodeDataset(rows, { tokenizer, template, eosIds }, { ...choice, maxLength, finish });
};

const samples: Task["samples"] = async ({ runtime, model, base, rows, count, maxLength, signal }) => {
  const prompts = promptsOf(base, model.methods, rows.slice(0, 4 * count), maxLength).slice(0, count);
  if (prompts.length === 0) return [];
  const options = { maxTokens: SAMPLE_TOKENS, batchSize: prompts.length, signal };
  return answer(runtime, model, base, prompts, options);
};

/** Predicting the next token, of a decoder. */
export const languageModelling: Task = {
  name: "language-modelling",
  summary: "predict the next token",
  lossUnit: "nats per token",
  counts: "tokens",
  command: "generate",
  peftName: "CAUSAL_LM",
  fits: ({ config }) => config.encoder === undefined,
  suits: () => true,
  prepare: (base) => base,
  checkMethods: () => undefined,
  labelled: (rows) => rows,
  encode,
  preview: (example, base) => previewExample(realTokens(example, base.config.vocabSize), base.tokenizer),
  pack: packTrie,
  sharesPrefixes: true,
  packedSize: trieSize,
  loss: ({ logits, labels, weights }, smoothing) => crossEntropy(logits, labels, weights, smoothing),
  scores: (chunks) => ({ correct: total(chunks.map(correct)) }),
  scorer,
  samples,
};

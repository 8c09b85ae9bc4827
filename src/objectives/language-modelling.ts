import type { Example } from "../data/batch.ts";
import { encodeDataset } from "../data/examples.ts";
import { packTrie, trieSize } from "../data/trie.ts";
import { InputError } from "../errors.ts";
import { crossEntropy, labelLogProbability, mul, sumAll, topIsLabel, total } from "../graph/ops/index.ts";
import type { Value } from "../graph/value.ts";
import { virtualCount, virtualExample, virtualLayout } from "../peft/virtual-tokens.ts";
import type { Edges, Objective, Scorer } from "./objective.ts";

/** Σ of weights where the top logit is the label, []. */
function correct({ logits, labels, weights }: Edges): Value {
  return sumAll(mul(topIsLabel(logits, labels), weights));
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

const encode: Objective["encode"] = async (rows, base, choice, methods) => {
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

/** The likelihood of labels given the tokens before them (LoRA §2, equation 1): the mean cross-entropy over label tokens. */
export const languageModelling: Objective = {
  name: "language-modelling",
  lossUnit: "nats per token",
  counts: "tokens",
  labelled: (rows) => rows,
  encode,
  pack: packTrie,
  sharesPrefixes: true,
  packedSize: trieSize,
  logProbabilities: ({ logits, labels }) => labelLogProbability(logits, labels),
  loss: ({ logits, labels, weights }, smoothing) => crossEntropy(logits, labels, weights, smoothing),
  smooths: true,
  weigh: null,
  scores: (chunks) => ({ correct: total(chunks.map(correct)) }),
  scorer,
};

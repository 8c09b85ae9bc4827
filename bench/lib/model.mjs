import { fileURLToPath } from "node:url";
import { encodeDataset, evaluate, loadDataset, loadModel } from "./lowrank.mjs";

export const MODEL = "smollm2-135m";
export const DATA = "shell-recipes";
const MAX_LENGTH = 512;

/** The files of the bundled data. */
export const FILES = Object.fromEntries(
  ["train", "test"].map((split) => [
    split,
    fileURLToPath(new URL(`../../data/${DATA}/${split}.jsonl`, import.meta.url)),
  ]),
);

/** The bundled data as a model's tokens: { train, test }, lists of { ids, isLabel, index } in the order of the files. */
export async function encodedData({ tokenizer, template, eosIds }) {
  const data = await loadDataset({ source: DATA });
  const encode = async (rows) => [
    ...(await encodeDataset(rows, { tokenizer, template, eosIds }, { maxLength: MAX_LENGTH })).examples,
  ];
  return { train: await encode(data.train), test: await encode(data.test) };
}

/** An example as the Python side reads it. */
export function plainRow({ ids, isLabel }) {
  return { ids: Array.from(ids), labels: Array.from(isLabel) };
}

async function withModel(adapter, use) {
  const model = await loadModel({ model: MODEL, contextLength: MAX_LENGTH, ...(adapter ? { adapter } : {}) });
  try {
    return await use(model);
  } finally {
    await model.close();
  }
}

/** Logits of an adapter at every position of every sequence: `visit(sequence, position, logits [V])`. */
export function everyLogits(adapter, sequences, visit) {
  return withModel(adapter, async (model) => {
    for (const [i, ids] of sequences.entries())
      (await model.logits(ids)).forEach((logits, t) => {
        visit(i, t, logits);
      });
  });
}

function logSumExp(logits) {
  const max = logits.reduce((a, b) => Math.max(a, b));
  return max + Math.log(logits.reduce((sum, x) => sum + Math.exp(x - max), 0));
}

/** Label loss of every example with an adapter (null: the base), [{ loss: Σ nats, labels }], from the logits in double precision. */
export async function scoreRows(adapter, examples) {
  const scores = examples.map(() => ({ loss: 0, labels: 0 }));
  const sequences = examples.map(({ ids }) => Array.from(ids));
  await everyLogits(adapter, sequences, (i, t, logits) => {
    if (examples[i].isLabel[t + 1] !== 1) return;
    scores[i].loss += logSumExp(logits) - logits[sequences[i][t + 1]];
    scores[i].labels++;
  });
  return scores;
}

/** Nats per label token of the test rows, as `lowrank evaluate` gives them. */
export async function evaluatedLoss(adapter) {
  return heldOutLoss({ data: [DATA], ...(adapter ? { adapter } : {}) });
}

/** The same of any data: `options` of `evaluate`. */
export async function heldOutLoss(options) {
  let loss = null;
  for await (const event of evaluate({ model: MODEL, ...options }))
    if (event.type === "result") loss = event.loss;
  return loss;
}

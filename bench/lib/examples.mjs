import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { batchOrder, encodeDataset, loadDataset } from "./lowrank.mjs";
import { plainRow } from "./model.mjs";

const file = (path) => fileURLToPath(new URL(`../../${path}`, import.meta.url));

/** Real data sets of the comparison: the options that name them. */
export const DATA_SETS = {
  "shell-recipes": {
    path: file("data/shell-recipes/train.jsonl"),
    promptField: "prompt",
    completionField: "command",
  },
  "us-addresses": {
    path: file("data/us-addresses/train.jsonl"),
    promptField: "address",
    completionField: "json",
  },
  "wordnet-nouns": {
    path: file("bench/data/wordnet-nouns/train.jsonl"),
    promptField: "word",
    completionField: "category",
  },
};

/** Training options of a data set. */
export function dataOptions({ path, ...fields }) {
  return { data: [path], ...fields };
}

/** A data set as a model's tokens, in the order of the file. */
export async function encoded({ tokenizer, template, eosIds }, { path, ...fields }, maxLength = 512) {
  const data = await loadDataset({ source: path, ...fields });
  const { examples } = await encodeDataset(data.train, { tokenizer, template, eosIds }, { maxLength });
  return [...examples];
}

/** The first `steps` batches that a run with this seed takes, as plain rows. */
export function batchesOf(examples, { batchSize, seed, steps }) {
  const order = batchOrder({ count: examples.length, batchSize, seed, epoch: 0 }).slice(0, steps);
  return order.map((indices) => Array.from(indices, (i) => plainRow(examples[i])));
}

/** Plain text made of the rows of shell-recipes: `count` texts, each of exactly `tokens` tokens with the one that ends it.
 *  Returns the options of the data set. */
export async function longTexts(context, { tokenizer }, { count, tokens }) {
  const lines = (await readFile(DATA_SETS["shell-recipes"].path, "utf8"))
    .trimEnd()
    .split("\n")
    .map(JSON.parse);
  const whole = lines.map(({ task, command }) => `${task}: ${command}`);
  const from = (line) => {
    let [made, at] = ["", line];
    while (made.length < 8 * tokens) made += `${whole[at++ % whole.length]}\n`;
    return tokenizer.decode(tokenizer.encode(made).slice(0, tokens - 1));
  };
  const texts = [];
  // A cut inside a word may be encoded otherwise: then the next line's text.
  for (let line = 0; texts.length < count; line += 37) {
    const text = from(line);
    if (tokenizer.encode(text).length === tokens - 1) texts.push(text);
  }
  const path = join(context.work, `texts-${count}-${tokens}.jsonl`);
  await writeFile(path, texts.map((text) => `${JSON.stringify({ text })}\n`).join(""));
  return { path, textField: "text" };
}

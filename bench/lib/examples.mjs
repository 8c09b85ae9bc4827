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
    path: file("bench/data/us-addresses/train.jsonl"),
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
  return encodeDataset(data.train, { tokenizer, template, eosIds }, { maxLength }).examples;
}

/** The first `steps` batches that a run with this seed takes, as plain rows. */
export function batchesOf(examples, { batchSize, seed, steps }) {
  const order = batchOrder({ count: examples.length, batchSize, seed, epoch: 0 }).slice(0, steps);
  return order.map((indices) => Array.from(indices, (i) => plainRow(examples[i])));
}

/** Plain text made of the rows of shell-recipes: `count` texts of at least `characters` each, every one from another place.
 *  Returns the options of the data set. */
export async function longTexts(context, { count, characters }) {
  const lines = (await readFile(DATA_SETS["shell-recipes"].path, "utf8"))
    .trimEnd()
    .split("\n")
    .map(JSON.parse);
  const whole = lines.map(({ task, command }) => `${task}: ${command}`);
  const text = (i) => {
    let [made, at] = ["", i * 37];
    while (made.length < characters) made += `${whole[at++ % whole.length]}\n`;
    return made;
  };
  const path = join(context.work, `texts-${count}-${characters}.jsonl`);
  await writeFile(
    path,
    Array.from({ length: count }, (_, i) => `${JSON.stringify({ text: text(i) })}\n`).join(""),
  );
  return { path, textField: "text" };
}

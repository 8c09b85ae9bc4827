// Tokens per second of greedy decoding and of reading a prompt, for a base in 32, 8 and 4 bits, in alternating rounds.
// usage: node bench/decode.mjs [--rounds 5] [--model smollm2-135m]
import { parseArgs } from "node:util";
import { loadModel } from "../dist/index.js";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    model: { type: "string", default: "smollm2-135m" },
    bits: { type: "string", default: "32,8,4" },
  },
});
const TOKENS = 128;
const QUESTION = "Write a long story about a dog who finds a map in the forest.";
const LONG = "word ".repeat(500);

const models = new Map();
for (const bits of values.bits.split(",").map(Number))
  models.set(bits, await loadModel({ model: values.model, contextLength: 1024, baseBits: bits }));

/** Tokens per second after the first token, and of the prompt. */
async function measure(model) {
  const first = await model.generateText({ prompt: QUESTION, maxTokens: 1 });
  const whole = await model.generateText({ prompt: QUESTION, maxTokens: TOKENS });
  const prompt = await model.generateText({ prompt: LONG, raw: true, maxTokens: 1 });
  return {
    decode: (1000 * (whole.ids.length - 1)) / (whole.elapsedMs - first.elapsedMs),
    prompt: (1000 * prompt.promptTokens) / prompt.elapsedMs,
  };
}

const results = new Map([...models.keys()].map((bits) => [bits, []]));
for (const model of models.values()) await measure(model); // the first run of a shape is slower
for (let i = 0; i < Number(values.rounds); i++)
  for (const [bits, model] of models) results.get(bits).push(await measure(model));

const median = (xs) => xs.sort((a, b) => a - b)[Math.floor(xs.length / 2)].toFixed(1);
console.log("| bits | decode, tokens/s | prompt, tokens/s |\n|-|-|-|");
for (const [bits, rounds] of results)
  console.log(
    `| ${bits} | ${median(rounds.map((r) => r.decode))} | ${median(rounds.map((r) => r.prompt))} |`,
  );
for (const model of models.values()) await model.close();

// Processor time to choose a token from logits of two sizes of vocabulary, and for its log-probabilities.
// usage: node bench/sampling.mjs [DIST]   (default: ../dist; another folder compares an earlier build)
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const dist = pathToFileURL(resolve(process.argv[2] ?? new URL("../dist", import.meta.url).pathname)).href;
const { createSampler } = await import(`${dist}/generate/sampling.js`);
const { random } = await import(`${dist}/tensor/random.js`);
const logprobs = await import(`${dist}/generate/logprobs.js`).catch(() => null);

const OPTIONS = {
  greedy: { temperature: 0 },
  temperature: { temperature: 0.8 },
  "top-k 40": { temperature: 0.8, topK: 40 },
  "top-p 0.95": { temperature: 0.8, topP: 0.95 },
  "min-p 0.05": { temperature: 0.8, minP: 0.05 },
  "all three": { temperature: 0.8, topK: 40, topP: 0.95, minP: 0.05 },
  "repetition penalty": { temperature: 0, repetitionPenalty: 1.1 },
  "frequency and presence penalty": { temperature: 0, frequencyPenalty: 0.5, presencePenalty: 0.5 },
};
const history = Array.from({ length: 500 }, (_, i) => (i * 97) % 40_000);

/** Like a model's: many unlikely tokens, some thirty likely ones. */
function logitsOf(vocab, generator) {
  const logits = Float32Array.from({ length: vocab }, () => generator.normal() * 2.5);
  for (let i = 0; i < 30; i++) logits[generator.below(vocab)] = 8 + 8 * generator.uniform();
  return logits;
}

/** Median of nine rounds of 60 calls, in µs of processor time each. */
function measure(call) {
  const rounds = Array.from({ length: 10 }, () => {
    const start = process.cpuUsage();
    for (let i = 0; i < 60; i++) call(i);
    const { user, system } = process.cpuUsage(start);
    return (user + system) / 60;
  });
  const [, ...warm] = rounds;
  return warm.sort((a, b) => a - b)[4];
}

const vocabs = [49_152, 151_936];
const logits = vocabs.map((vocab) => {
  const generator = random(1);
  return Array.from({ length: 8 }, () => logitsOf(vocab, generator));
});
const row = (name, call) =>
  console.log(
    `| ${[name, ...logits.map((rows) => measure((i) => call(rows[i % 8])).toFixed(0))].join(" | ")} |`,
  );
console.log(`| µs a token | ${vocabs.join(" | ")} |\n|-|-|-|`);
for (const [name, options] of Object.entries(OPTIONS)) {
  const sampler = createSampler({ ...options, seed: 1 });
  row(name, (scores) => sampler.next(scores, history, 250));
}
if (logprobs)
  for (const count of [0, 20])
    row(`log-probabilities, ${count}`, (scores) => logprobs.logprobsOf(scores, 5, count));

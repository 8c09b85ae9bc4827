/** As many sequences at once in llama.cpp through node-llama-cpp, which batches them; prints [tokens per second of each round].
 *    node llama-cpp-batch.mjs '{"folder", "modelPath", "prompts": [ids], "maxTokens", "rounds", "threads"}' */
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const { folder, modelPath, prompts, maxTokens, rounds, threads } = JSON.parse(process.argv[2]);
const entry = createRequire(join(resolve(folder), "x.js")).resolve("node-llama-cpp");
const peer = await import(pathToFileURL(entry).href);
const logLevel = peer.LlamaLogLevel.error;
const llama = await peer.getLlama({ gpu: false, build: "never", logLevel, maxThreads: threads });
const model = await llama.loadModel({ modelPath, gpuLayers: 0 });
const context = await model.createContext({ contextSize: 1024, sequences: prompts.length, threads });
const sequences = prompts.map(() => context.getSequence());

async function answer(sequence, ids) {
  await sequence.clearHistory();
  let count = 0;
  for await (const _ of sequence.evaluate(ids, { temperature: 0, yieldEogToken: true }))
    if (++count === maxTokens) break;
  return count;
}

const rates = [];
for (let round = 0; round <= rounds; round++) {
  const started = performance.now();
  const counts = await Promise.all(sequences.map((sequence, i) => answer(sequence, prompts[i])));
  const rate = (counts.reduce((a, b) => a + b) * 1000) / (performance.now() - started);
  if (round > 0) rates.push(rate);
}
await context.dispose();
await model.dispose();
await llama.dispose();
process.stdout.write(JSON.stringify({ rates }), () => process.exit(0));

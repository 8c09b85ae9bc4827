/** Greedy decoding in llama.cpp through node-llama-cpp, on the tokens that lowrank has; prints what decode.mjs prints.
 *    node llama-cpp.mjs '{"folder", "modelPath", "promptIds", "maxTokens", "repeats", "threads"}' */
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { summarize } from "./decoding.mjs";

const { folder, modelPath, promptIds, maxTokens, repeats, threads } = JSON.parse(process.argv[2]);
const entry = createRequire(join(resolve(folder), "x.js")).resolve("node-llama-cpp");
const peer = await import(pathToFileURL(entry).href);
const llama = await peer.getLlama({
  gpu: false,
  build: "never",
  logLevel: peer.LlamaLogLevel.error,
  maxThreads: threads,
});
const model = await llama.loadModel({ modelPath, gpuLayers: 0 });
const context = await model.createContext({ contextSize: 1024, threads });
const sequence = context.getSequence();

async function decodeOnce() {
  await sequence.clearHistory();
  const started = performance.now();
  let first = null;
  const ids = [];
  for await (const token of sequence.evaluate(promptIds, { temperature: 0, yieldEogToken: true })) {
    first ??= performance.now();
    ids.push(token);
    if (ids.length === maxTokens) break;
  }
  const decodeSeconds = (performance.now() - first) / 1000;
  return {
    promptTokensPerSecond: (promptIds.length * 1000) / (first - started),
    decodeTokensPerSecond: (ids.length - 1) / decodeSeconds,
    ids,
    promptTokens: promptIds.length,
  };
}

const runs = [];
for (let i = 0; i <= repeats; i++) runs.push(await decodeOnce());
const result = summarize(runs.slice(1));
await context.dispose();
await model.dispose();
await llama.dispose();
process.stdout.write(JSON.stringify(result), () => process.exit(0));

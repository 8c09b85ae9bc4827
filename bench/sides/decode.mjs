/** Greedy decoding in a process of its own: { promptTokens, promptSeconds, decodeTokensPerSecond, ids, peakRssBytes }. The first
 *  answer does not count.
 *    node decode.mjs '{"model", "load": {…}, "prompt", "maxTokens", "repeats"}' */
import { loadModel } from "../lib/lowrank.mjs";
import { decodeOnce, summarize } from "./decoding.mjs";

const { load, prompt, maxTokens, repeats } = JSON.parse(process.argv[2]);
const model = await loadModel({ offline: true, contextLength: 1024, ...load });
const runs = [];
for (let i = 0; i <= repeats; i++) runs.push(await decodeOnce(model, { prompt, maxTokens }));
await model.close();
process.stdout.write(JSON.stringify(summarize(runs.slice(1))));

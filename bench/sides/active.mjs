/** Base, adapter beside it, and adapter merged, decoding in turn in one process: { base, adapter, merged }, a list of rounds each.
 *    node active.mjs '{"model", "adapter", "prompt", "maxTokens", "rounds"}' */
import { loadModel } from "../lib/lowrank.mjs";
import { decodeOnce } from "./decoding.mjs";

const { model, adapter, prompt, maxTokens, rounds } = JSON.parse(process.argv[2]);
const options = { model, offline: true, contextLength: 1024 };
const models = {
  base: await loadModel(options),
  adapter: await loadModel({ ...options, adapter }),
  merged: await loadModel({ ...options, adapter }),
};
await models.merged.merge();
const runs = { base: [], adapter: [], merged: [] };
for (let round = 0; round <= rounds; round++)
  for (const [name, loaded] of Object.entries(models))
    runs[name].push(await decodeOnce(loaded, { prompt, maxTokens }));
for (const loaded of Object.values(models)) await loaded.close();
process.stdout.write(
  JSON.stringify(Object.fromEntries(Object.entries(runs).map(([name, list]) => [name, list.slice(1)]))),
);

/** Many requests at once to an engine, as its users see them: { tokensPerSecond, firstMs: [of each request], gapMs: [between pieces] }
 *  for each load in turn, a list of rounds.
 *    node serve.mjs '{"load": {…}, "adapters": [path], "prompts": [text], "maxTokens", "rounds"}' */
import { openEngine } from "../lib/lowrank.mjs";

const { load, adapters, prompts, maxTokens, rounds } = JSON.parse(process.argv[2]);

async function answer(engine, prompt, adapter) {
  const started = performance.now();
  const times = [];
  const request = { prompt, raw: true, maxTokens, ...(adapter ? { adapters: { [adapter]: 1 } } : {}) };
  const pieces = engine.generate(request);
  for (;;) {
    const { done, value } = await pieces.next();
    if (done) return { tokens: value.ids.length, times, started };
    times.push(performance.now());
  }
}

let asks = 0;

/** No prompt begins as one before: what an engine remembers would count otherwise. */
const unlike = (prompt) => `${++asks}. ${prompt}`;

async function together(engine, count, adapterOf) {
  const started = performance.now();
  const asked = Array.from({ length: count }, (_, i) =>
    answer(engine, unlike(prompts[i % prompts.length]), adapterOf(i)),
  );
  const answers = await Promise.all(asked);
  const seconds = (performance.now() - started) / 1000;
  return {
    tokensPerSecond: answers.reduce((n, { tokens }) => n + tokens, 0) / seconds,
    firstMs: answers.map(({ times, started: from }) => (times[0] ?? performance.now()) - from),
    gapMs: answers.flatMap(({ times }) => times.slice(1).map((t, i) => t - times[i])),
  };
}

const options = { offline: true, contextLength: 1024, maxBatch: 16, ...load };
const [plain, adapted] = [await openEngine(options), await openEngine(options)];
for (const [i, path] of adapters.entries()) await adapted.loadAdapter(`a${i}`, path);
const own = (i) => `a${i % adapters.length}`;
const loads = {
  one: () => together(plain, 1, () => null),
  eight: () => together(plain, 8, () => null),
  sixteen: () => together(plain, 16, () => null),
  adapters: () => together(adapted, 8, own),
};
const runs = Object.fromEntries(Object.keys(loads).map((name) => [name, []]));
for (let round = 0; round <= rounds; round++)
  for (const [name, run] of Object.entries(loads)) {
    const result = await run();
    if (round > 0) runs[name].push(result); // the first loads graphs
  }
await plain.close();
await adapted.close();
process.stdout.write(JSON.stringify(runs));

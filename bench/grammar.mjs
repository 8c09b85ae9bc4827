// Time to make grammars, and a mask from the threads that make them; and how long the event loop stands still meanwhile.
// usage: node bench/grammar.mjs [VOCABULARY]   (of tokens that are pieces of words; default 49152)
import { monitorEventLoopDelay } from "node:perf_hooks";
import { createGrammar } from "../dist/generate/grammar.js";
import { random } from "../dist/tensor/random.js";

const vocabSize = Number(process.argv[2] ?? 49_152);
const generator = random(1);
const letters = "etaoinshrdlucmfwypvbgkjqxz ETAOINS0123456789.,:;{}[]\"'-_()<>/\\";
const encoder = new TextEncoder();
const tokens = Array.from({ length: vocabSize }, (_, id) => {
  if (id < 256) return Uint8Array.of(id);
  const length = 2 + generator.below(8);
  return encoder.encode(Array.from({ length }, () => letters[generator.below(letters.length)]).join(""));
});
const tokenizer = { tokenBytes: (id) => tokens[id], isSpecial: (id) => id === 0, tokenId: () => undefined };
const model = { tokenizer, vocabSize, eosIds: [0], shown: [] };

const text = (maxLength) => ({ type: "string", maxLength });
const object = (properties) => ({
  kind: "json",
  schema: { type: "object", properties, required: Object.keys(properties), additionalProperties: false },
});
const FORMS = {
  "the first, with the tokens": object({ a: { type: "integer" } }),
  "another, of five properties": object({
    name: { type: "string" },
    age: { type: "integer" },
    kind: { enum: ["a", "b"] },
    tags: { type: "array", items: { type: "string" } },
    more: { anyOf: [{ type: "number" }, { type: "null" }] },
  }),
  "the same again": object({ a: { type: "integer" } }),
  "a text of at most 64": object({ a: text(64) }),
  "a text of at most 256": object({ a: text(256) }),
};

const delay = monitorEventLoopDelay({ resolution: 1 });
for (const [name, form] of Object.entries(FORMS)) {
  delay.reset();
  delay.enable();
  const start = performance.now();
  const made = await createGrammar(form, model);
  const ms = performance.now() - start;
  made.end(); // else the next form begins in another thread
  delay.disable();
  console.log(`${name}: ${ms.toFixed(0)} ms; event loop at most ${(delay.max / 1e6).toFixed(0)} ms`);
}
const grammar = await createGrammar(FORMS["another, of five properties"], model);
const times = [];
for (const byte of encoder.encode('{"name": "something that goes on and on for a while, as texts do')) {
  const start = performance.now();
  grammar.accept(byte);
  await grammar.waits;
  times.push((performance.now() - start) * 1000);
}
times.sort((a, b) => a - b);
const [median, worst] = [times[times.length >> 1], times.at(-1)].map((us) => us.toFixed(0));
console.log(`a mask, from token to mask: median ${median} µs, worst ${worst} µs`);

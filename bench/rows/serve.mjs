import { cp } from "node:fs/promises";
import { join } from "node:path";
import { comparison, skipped } from "../lib/comparison.mjs";
import { zeroAdapter } from "../lib/decoding.mjs";
import { openBase } from "../lib/lowrank.mjs";
import { MODEL } from "../lib/model.mjs";
import { side } from "../lib/side.mjs";

const [ADAPTERS, RANK, MAX_TOKENS] = [8, 8, 64];
/** Plain texts of about 60 tokens that begin apart and ask for nothing, so that no answer ends early. */
const PROMPTS = Array.from({ length: 16 }, (_, i) =>
  Array.from(
    { length: 4 },
    (_, k) => `Street ${i * 7 + k} leads past house ${i + k} to the market square, where`,
  ).join(" "),
);

/** The value that so many of a hundred are not above. */
function percentile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor((share * sorted.length) / 100))];
}

/** A round without the times of every token. */
function summary({ tokensPerSecond, firstMs, gapMs }) {
  const of = (values) => ({ median: percentile(values, 50), "99%": percentile(values, 99) });
  return { tokensPerSecond, firstMs: of(firstMs), gapMs: of(gapMs) };
}

async function adapters(context) {
  const one = await zeroAdapter(context, { rank: RANK, targetModules: ["q_proj", "v_proj"] });
  const paths = Array.from({ length: ADAPTERS }, (_, i) => join(context.work, `served-${i}`));
  for (const path of paths) await cp(one, path, { recursive: true });
  return paths;
}

async function linesOf(context, bits, base, paths) {
  const { rounds, llamaCpp: folder, machine } = context;
  const ids = PROMPTS.slice(0, 8).map((text) => Array.from(base.tokenizer.encode(text)));
  const load = { model: base.source.path, baseBits: bits };
  const runs = await side("serve.mjs", {
    load,
    adapters: paths,
    prompts: PROMPTS,
    maxTokens: MAX_TOKENS,
    rounds,
  });
  const peer = {
    folder,
    modelPath: base.source.path,
    prompts: ids,
    maxTokens: MAX_TOKENS,
    rounds,
    threads: machine.cores,
  };
  const llama = folder && bits === 4 ? await side("llama-cpp-batch.mjs", peer) : null;
  const rates = (name) => runs[name].map((r) => r.tokensPerSecond);
  const of = (name, field, share) => runs[name].map((r) => percentile(r[field], share));
  const eight = { what: `8 at once, ${bits} bits`, unit: "tokens/s" };
  const beside = llama
    ? { peer: "llama.cpp", theirs: llama.rates, target: { of: "ratio", atLeast: 1.5 } }
    : {};
  const plain = (what, ours) => comparison({ what: `${what}, ${bits} bits`, unit: "ms", ours });
  return {
    runs: Object.fromEntries(Object.entries(runs).map(([name, list]) => [name, list.map(summary)])),
    lines: [
      comparison({ ...eight, ours: rates("eight"), ...beside }),
      ...(folder || bits !== 4
        ? []
        : [skipped(`${eight.what}, beside llama.cpp`, "--llama-cpp was not given")]),
      comparison({
        ...eight,
        what: `8 adapters at once, ${bits} bits`,
        ours: rates("adapters"),
        peer: "base",
        theirs: rates("eight"),
        target: { of: "ratio", atLeast: 0.8 },
      }),
      comparison({ ...eight, what: `1 alone, ${bits} bits`, ours: rates("one") }),
      comparison({ ...eight, what: `16 at once, ${bits} bits`, ours: rates("sixteen") }),
      plain("first token of 16 at once, median", of("sixteen", "firstMs", 50)),
      plain("first token of 16 at once, 99%", of("sixteen", "firstMs", 99)),
      plain("between tokens of 16 at once, median", of("sixteen", "gapMs", 50)),
      plain("between tokens of 16 at once, 99%", of("sixteen", "gapMs", 99)),
    ],
  };
}

async function measure(context) {
  const base = await openBase(MODEL, { offline: true });
  const paths = await adapters(context);
  const all = {};
  for (const bits of [4, 32]) all[bits] = await linesOf(context, bits, base, paths);
  const runs = Object.fromEntries(Object.entries(all).map(([bits, { runs: measured }]) => [bits, measured]));
  return { lines: Object.values(all).flatMap(({ lines }) => lines), runs };
}

/** Many requests at once. */
export const serve = {
  name: "serve",
  title: "Many requests at once",
  about:
    `Greedy, ${MAX_TOKENS} tokens after prompts of about 60, all sent at the same moment; tokens of all requests together. Adapters: ` +
    `${ADAPTERS} of rank ${RANK} on q and v, one for each request. The base and the adapters in turn in one process, llama.cpp through ` +
    "node-llama-cpp (which batches its sequences) after it. The first round does not count.",
  measure,
};

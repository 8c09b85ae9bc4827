import { join } from "node:path";
import { comparison, skipped } from "../lib/comparison.mjs";
import { LONG_PROMPT, zeroAdapter } from "../lib/decoding.mjs";
import { mergeAdapter, openBase } from "../lib/lowrank.mjs";
import { MODEL } from "../lib/model.mjs";
import { alternate, hasOption, side } from "../lib/side.mjs";

const SHARED = { maxTokens: 65, repeats: 2 };

/** The same bits on both sides: the GGUF file that the model comes in, or one written from its weights. */
async function variants(context, base) {
  const adapter = await zeroAdapter(context, { rank: 8, targetModules: ["q_proj", "v_proj"] });
  const written = async (dtype) => {
    const output = join(context.work, `base-${dtype}.gguf`);
    await mergeAdapter({ model: MODEL, adapter, output, format: "gguf", dtype, offline: true });
    return output;
  };
  return [
    { name: "4-bit (Q4_1)", bits: 4, path: base.source.path },
    { name: "8-bit (Q8_0)", bits: 8, path: await written("q8_0") },
    { name: "float32", bits: null, path: await written("float32") },
  ];
}

function sidesOf(context, variant, ids) {
  const { bits, path } = variant;
  const load = { model: path, ...(bits ? { baseBits: bits } : {}) };
  const ours = bits === null || hasOption("baseBits");
  const { llamaCpp: folder } = context;
  const there = { folder, modelPath: path, promptIds: ids, threads: context.machine.cores, ...SHARED };
  return {
    ...(ours ? { lowrank: () => side("decode.mjs", { load, prompt: LONG_PROMPT, ...SHARED }) } : {}),
    ...(folder ? { "llama.cpp": () => side("llama-cpp.mjs", there) } : {}),
  };
}

/** Tokens that both answers begin with. */
function common(a, b) {
  const at = a.findIndex((id, i) => id !== b[i]);
  return at < 0 ? a.length : at;
}

function lines({ name, bits }, runs) {
  const { lowrank, "llama.cpp": llama } = runs;
  const kinds = [
    { what: `decode, ${name}`, field: "decodeTokensPerSecond", atLeast: 1.8 },
    { what: `prompt, ${name}`, field: "promptTokensPerSecond", atLeast: 2 },
  ];
  return kinds.map(({ what, field, atLeast }) => {
    if (!lowrank) return skipped(what, "there is no option `baseBits` yet");
    const of = (list) => list.map((r) => r[field]);
    const beside = llama ? { peer: "llama.cpp", theirs: of(llama) } : {};
    const note = llama
      ? `first ${common(lowrank[0].ids, llama[0].ids)} of ${lowrank[0].ids.length} tokens equal`
      : "";
    const target = bits === null ? null : { of: "ratio", atLeast };
    return comparison({ what, unit: "tokens/s", ours: of(lowrank), ...beside, target, note });
  });
}

async function measure(context) {
  const base = await openBase(MODEL, { offline: true });
  const ids = Array.from(base.tokenizer.encode(LONG_PROMPT));
  const all = [];
  for (const variant of await variants(context, base))
    all.push({ variant, runs: await alternate(context, sidesOf(context, variant, ids)) });
  const runs = Object.fromEntries(all.map(({ variant, runs: measured }) => [variant.name, measured]));
  return { lines: all.flatMap(({ variant, runs: measured }) => lines(variant, measured)), runs };
}

/** One sequence, greedy. */
export const decode = {
  name: "decode",
  title: "Generation, beside llama.cpp",
  about:
    "Batch 1, greedy, 64 tokens after a prompt of about 400. Both sides read the same GGUF file. llama.cpp through node-llama-cpp with its " +
    "defaults, without a GPU, a thread per core. In each process the first answer does not count.",
  measure,
};

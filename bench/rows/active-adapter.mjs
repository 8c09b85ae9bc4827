import { comparison } from "../lib/comparison.mjs";
import { LONG_PROMPT, zeroAdapter } from "../lib/decoding.mjs";
import { MODEL } from "../lib/model.mjs";
import { side } from "../lib/side.mjs";

const RANK = 16;

async function measure(context) {
  const adapter = await zeroAdapter(context, { rank: RANK, targetModules: "all-linear" });
  const { rounds } = context;
  const runs = await side("active.mjs", {
    model: MODEL,
    adapter,
    prompt: LONG_PROMPT,
    maxTokens: 65,
    rounds,
  });
  const kinds = { decode: "decodeTokensPerSecond", prompt: "promptTokensPerSecond" };
  const targets = { adapter: 0.92, merged: 0.99 };
  const lines = Object.entries(kinds).flatMap(([kind, field]) =>
    Object.entries(targets).map(([name, atLeast]) => {
      const of = (list) => list.map((r) => r[field]);
      const beside = { ours: of(runs[name]), peer: "base", theirs: of(runs.base) };
      const what = `${kind}, ${name === "adapter" ? "adapter unmerged" : "adapter merged"}`;
      return comparison({ what, unit: "tokens/s", ...beside, target: { of: "ratio", atLeast } });
    }),
  );
  return { lines, runs };
}

/** What an adapter costs when it is used. */
export const activeAdapter = {
  name: "active-adapter",
  title: "Generation with an adapter",
  about: `LoRA of rank ${RANK} on all linear modules, float32, batch 1; base, adapter and merged in turn in one process.`,
  measure,
};

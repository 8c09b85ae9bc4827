import { comparison, skipped } from "../lib/comparison.mjs";
import { batchesOf, dataOptions, encoded, longTexts } from "../lib/examples.mjs";
import { FLOP_FORMULA, stepFlops } from "../lib/flops.mjs";
import { openBase } from "../lib/lowrank.mjs";
import { MODEL } from "../lib/model.mjs";
import { alternate, rate, trainDense, trainHere } from "../lib/side.mjs";
import { largestDifference } from "../lib/statistics.mjs";

const [ROWS, LENGTH, STEPS, WARM_UP] = [4, 256, 5, 2];
const TOKENS = ROWS * LENGTH;

/** Tokens are computed from all but the last of an example, which is a label only. */
const OPTIONS = { batchSize: ROWS, maxLength: LENGTH + 1, maxSteps: STEPS };

async function measure(context) {
  const base = await openBase(MODEL, { offline: true });
  const texts = await longTexts(context, base, { count: ROWS * STEPS, tokens: LENGTH + 1 });
  const examples = await encoded(base, texts, LENGTH + 1);
  const there = { "PyTorch eager": [], "torch.compile": [] };
  const sides = {
    lowrank: (seed) =>
      trainHere(context, { ...dataOptions(texts), ...OPTIONS, seed }, async (measured, start) => {
        if (!context.peers) return measured;
        const batches = batchesOf(examples, { batchSize: ROWS, seed, steps: STEPS });
        for (const [name, compile] of [
          ["PyTorch eager", false],
          ["torch.compile", true],
        ])
          there[name].push(await trainDense(context, { start, batches, compile }));
        return measured;
      }),
  };
  const { lowrank } = await alternate(context, sides);
  return { lines: lines(context, { lowrank, ...there }), runs: { lowrank, ...there } };
}

function lines(context, runs) {
  const speeds = (name) => runs[name].map((r) => rate(r, TOKENS, WARM_UP));
  const memory = (name) => runs[name].map((r) => r.peakRssBytes / 1e9);
  const ours = speeds("lowrank");
  const flops = stepFlops({ rows: ROWS, length: LENGTH, edges: TOKENS, rank: 8 });
  const shares = ours.map((x) => (100 * flops * x) / TOKENS / 1e9 / context.gemm.gflops);
  const own = {
    what: "model FLOPs of the dense step, share of the GEMM peak",
    ...{ unit: "%", ours: shares, target: { of: "value", atLeast: 88 } },
    note: `${(flops / 1e9).toFixed(0)} GFLOP a step, peak ${context.gemm.gflops.toFixed(0)} GFLOP/s`,
  };
  const beside = Object.entries({ "PyTorch eager": 1.4, "torch.compile": 1.2 }).flatMap(([peer, atLeast]) => {
    if (!context.peers) return [skipped(`dense training step, beside ${peer}`, "no --peers")];
    const difference = Math.max(
      ...runs.lowrank.map((r, i) => largestDifference(r.losses, runs[peer][i].losses)),
    );
    const note = `same tokens; losses differ by at most ${difference.toExponential(0)}`;
    const speed = { what: "dense training step", unit: "tokens/s", ours, peer, theirs: speeds(peer) };
    const peak = {
      what: "dense training step, peak memory",
      unit: "GB",
      ours: memory("lowrank"),
      peer,
      theirs: memory(peer),
    };
    return [comparison({ ...speed, target: { of: "ratio", atLeast }, note }), comparison(peak)];
  });
  return [...beside, comparison(own)];
}

/** 4 × 256 dense tokens, every one with a loss on the next. */
export const dense = {
  name: "dense",
  title: "Dense training step",
  about:
    `LoRA of rank 8 on q and v, ${ROWS} rows of ${LENGTH} tokens of plain text, all of them labels. PyTorch computes the same ` +
    `tokens without padding and without a trainer. ${STEPS} steps, the first ${WARM_UP} do not count. Model FLOPs of a step: ${FLOP_FORMULA}.`,
  measure,
};

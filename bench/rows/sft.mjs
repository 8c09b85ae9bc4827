import { comparison, skipped } from "../lib/comparison.mjs";
import { batchesOf, DATA_SETS, dataOptions, encoded } from "../lib/examples.mjs";
import { openBase } from "../lib/lowrank.mjs";
import { MODEL } from "../lib/model.mjs";
import { alternate, rate, trainHere, trainInTrl } from "../lib/side.mjs";
import { geometricMean, largestDifference, median } from "../lib/statistics.mjs";

/** Steps of a run and those at its start that do not count: so few that all rounds of all sides fit into half an hour. Every
 *  round has batches of its own. */
const SETTINGS = [
  { batchSize: 8, steps: 4, warmUp: 1 },
  { batchSize: 32, steps: 2, warmUp: 1 },
];

async function measureSet(context, examples, data, { batchSize, steps }) {
  const trl = [];
  const options = { ...dataOptions(data), batchSize, maxSteps: steps };
  const sides = {
    lowrank: (seed) =>
      trainHere(context, { ...options, seed }, async (measured, start) => {
        if (context.peers)
          trl.push(
            await trainInTrl(context, { start, batches: batchesOf(examples, { batchSize, seed, steps }) }),
          );
        return measured;
      }),
  };
  const { lowrank } = await alternate(context, sides);
  return { lowrank, trl };
}

function lines(context, name, { batchSize, warmUp }, { lowrank, trl }) {
  const what = `${name}, batch ${batchSize}`;
  const speed = (r) => rate(r, batchSize, warmUp);
  const memory = (r) => r.peakRssBytes / 1e9;
  const own = { ours: lowrank.map(speed), unit: "examples/s", what };
  const peak = { ours: lowrank.map(memory), unit: "GB", what: `${what}, peak memory` };
  if (!context.peers) return [comparison(own), comparison(peak)];
  const difference = Math.max(...lowrank.map((r, i) => largestDifference(r.losses, trl[i].losses)));
  const note = `losses per step differ by at most ${difference.toExponential(0)}`;
  const theirs = (of) => ({ peer: "TRL + PEFT", theirs: trl.map(of) });
  return [
    comparison({ ...own, ...theirs(speed), note }),
    comparison({ ...peak, ...theirs(memory), target: { of: "ratio", atMost: 0.5 } }),
  ];
}

/** The geometric mean as a line of its own: every round gives one. */
function meanLine(context, all) {
  const what = "all data sets and batch sizes, geometric mean of the ratios";
  if (!context.peers) return skipped(what, "no --peers");
  const ratio = ({ setting, lowrank, trl }, side) =>
    median((side === "ours" ? lowrank : trl).map((r) => rate(r, setting.batchSize, setting.warmUp)));
  const ours = [geometricMean(all.map((one) => ratio(one, "ours")))];
  const theirs = [geometricMean(all.map((one) => ratio(one, "theirs")))];
  const target = { of: "ratio", atLeast: 4 };
  return comparison({
    what,
    unit: "examples/s",
    ours,
    peer: "TRL + PEFT",
    theirs,
    target,
    note: "of the medians",
  });
}

async function measure(context) {
  const base = await openBase(MODEL, { offline: true });
  const all = [];
  for (const [name, data] of Object.entries(DATA_SETS)) {
    const examples = await encoded(base, data);
    for (const setting of SETTINGS)
      all.push({ name, setting, ...(await measureSet(context, examples, data, setting)) });
  }
  const table = all.flatMap((one) => lines(context, one.name, one.setting, one));
  return { lines: [...table, meanLine(context, all)], runs: all };
}

/** Three real data sets at two batch sizes. */
export const sft = {
  name: "sft",
  title: "Real fine-tuning, beside TRL and PEFT",
  about:
    "LoRA of rank 8 on q and v in float32. TRL's SFTTrainer with its own collator and padding, given the tokens that lowrank has, " +
    "the same batches in the same order, and the same first adapter; threads: one per core on both sides. " +
    `${SETTINGS.map((s) => `Batch ${s.batchSize}: ${s.steps} steps, of which ${s.warmUp} does not count`).join("; ")}; every round has ` +
    "other batches. Peak memory: largest resident set of the process.",
  measure,
};

import { comparison } from "../lib/comparison.mjs";
import { batchesOf, DATA_SETS, dataOptions, encoded } from "../lib/examples.mjs";
import { openBase } from "../lib/lowrank.mjs";
import { MODEL } from "../lib/model.mjs";
import { alternate, trainHere, trainInTrl } from "../lib/side.mjs";

const [BATCH, SEED] = [8, 0];

async function measure(context) {
  const data = DATA_SETS["shell-recipes"];
  const examples = await encoded(await openBase(MODEL, { offline: true }), data);
  const batches = batchesOf(examples, { batchSize: BATCH, seed: SEED, steps: 1 });
  const options = { ...dataOptions(data), batchSize: BATCH, maxSteps: 1, seed: SEED };
  const trl = [];
  const { lowrank } = await alternate(context, {
    lowrank: () =>
      trainHere(context, options, async (measured, start) => {
        if (context.peers) trl.push(await trainInTrl(context, { start, batches }));
        return measured;
      }),
  });
  const seconds = (runs) => runs.map((r) => r.firstStepSeconds);
  const beside = context.peers
    ? { peer: "TRL + PEFT, 8 rows that are encoded already", theirs: seconds(trl) }
    : {};
  const target = { of: "value", atMost: 4 };
  const line = {
    what: "start of the process to the first step",
    unit: "s",
    ours: seconds(lowrank),
    ...beside,
    target,
  };
  return { lines: [comparison(line)], runs: { lowrank, trl } };
}

/** From a cached model to work. */
export const start = {
  name: "start",
  title: "Start",
  about:
    "Seconds from the start of the process to the start of the first step, the model in the cache: reading and encoding all of " +
    "shell-recipes, planning, loading the graphs.",
  measure,
};

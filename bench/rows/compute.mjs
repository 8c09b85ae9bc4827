import { comparison } from "../lib/comparison.mjs";
import { DATA_SETS, dataOptions } from "../lib/examples.mjs";
import { heldOutLoss } from "../lib/model.mjs";
import { alternate, rate, trainHere } from "../lib/side.mjs";

const [BATCH, STEPS, WARM_UP] = [8, 40, 2];

async function measureSet(context, data) {
  const { path, ...fields } = data;
  const test = { data: [path.replace("train.jsonl", "test.jsonl")], ...fields };
  const at = (options) => (seed) =>
    trainHere(
      context,
      { ...dataOptions(data), batchSize: BATCH, maxSteps: STEPS, seed, checkpointEvery: STEPS, ...options },
      async (measured, _, adapter) => ({ ...measured, heldOutLoss: await heldOutLoss({ ...test, adapter }) }),
    );
  return alternate(context, { float32: at({ baseBits: 8 }), int8: at({ baseBits: 8, compute: "int8" }) });
}

function lines(name, { float32, int8 }) {
  const beside = (of) => ({ ours: int8.map(of), peer: "float32", theirs: float32.map(of) });
  const differences = int8.map((r, i) => r.heldOutLoss - float32[i].heldOutLoss);
  const [least, most] = [Math.min(...differences), Math.max(...differences)];
  const signed = (x) => `${x < 0 ? "−" : "+"}${Math.abs(x).toFixed(4)}`;
  return [
    comparison({
      ...{ what: `${name}, held-out loss`, unit: "nats/token", ...beside((r) => r.heldOutLoss) },
      note: `differences of the rounds: ${signed(least)} to ${signed(most)}`,
    }),
    comparison({
      what: `${name}, speed`,
      unit: "examples/s",
      ...beside((r) => rate(r, BATCH, WARM_UP)),
    }),
    comparison({ what: `${name}, peak memory`, unit: "GB", ...beside((r) => r.peakRssBytes / 1e9) }),
  ];
}

async function measure(context) {
  const runs = {};
  for (const [name, data] of Object.entries(DATA_SETS)) runs[name] = await measureSet(context, data);
  return { lines: Object.entries(runs).flatMap(([name, of]) => lines(name, of)), runs };
}

/** What rounding activations does to the loss, and to speed. */
export const compute = {
  name: "compute",
  title: "Products in 8 bits",
  about:
    `A base of 8 bits, rank 8 on q and v, batch ${BATCH}, ${STEPS} steps: with \`--compute int8\` and without, the same batches, ` +
    "every round another seed. The trained adapters are evaluated on the test file with the float32 model, so the difference is " +
    `in what was learnt. Speed: the first ${WARM_UP} steps do not count.`,
  measure,
};

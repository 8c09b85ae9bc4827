import { comparison, skipped } from "../lib/comparison.mjs";
import { DATA_SETS, dataOptions } from "../lib/examples.mjs";
import { alternate, hasOption, rate, trainHere } from "../lib/side.mjs";
import { largestDifference } from "../lib/statistics.mjs";

const [BATCH, STEPS, WARM_UP] = [8, 8, 2];

async function measure(context) {
  const what = "training on a quantized base";
  if (!hasOption("baseBits"))
    return { lines: [skipped(what, "there is no option `baseBits` yet")], runs: {} };
  const recompute = hasOption("recompute") ? { recompute: "layer" } : {};
  const options = {
    ...dataOptions(DATA_SETS["shell-recipes"]),
    batchSize: BATCH,
    maxSteps: STEPS,
    ...recompute,
  };
  const at = (bits) => (seed) =>
    trainHere(context, { ...options, seed, ...(bits ? { baseBits: bits } : {}) });
  const runs = await alternate(context, { float32: at(null), "4 bits": at(4), "8 bits": at(8) });
  const speed = (r) => rate(r, BATCH, WARM_UP);
  const memory = (r) => r.peakRssBytes / 1e9;
  const lines = ["4 bits", "8 bits"].flatMap((name) => {
    const difference = Math.max(
      ...runs[name].map((r, i) => largestDifference(r.losses, runs.float32[i].losses)),
    );
    const note = `losses differ by at most ${difference.toExponential(0)}`;
    const beside = (of) => ({ ours: runs[name].map(of), peer: "float32", theirs: runs.float32.map(of) });
    const floor = { of: "ratio", atLeast: 0.85 };
    return [
      comparison({ what: `base in ${name}`, unit: "examples/s", ...beside(speed), target: floor, note }),
      comparison({
        ...{ what: `base in ${name}, peak memory`, unit: "GB", ...beside(memory) },
        target: { of: "value", atMost: 0.9 },
      }),
    ];
  });
  return { lines, runs };
}

/** The frozen weights held as they are stored. */
export const baseBits = {
  name: "base-bits",
  title: "Quantized base in memory",
  about:
    `shell-recipes, batch ${BATCH}, rank 8 on q and v, recompute of layers on both sides where it is there; ${STEPS} steps, the ` +
    `first ${WARM_UP} do not count.`,
  measure,
};

import { comparison, skipped } from "../lib/comparison.mjs";
import { DATA_SETS, dataOptions } from "../lib/examples.mjs";
import { alternate, hasOption, rate, trainHere } from "../lib/side.mjs";
import { largestDifference } from "../lib/statistics.mjs";

const [BATCH, STEPS, WARM_UP] = [8, 8, 2];

async function measure(context) {
  const what = "training with recompute of layers";
  if (!hasOption("recompute"))
    return { lines: [skipped(what, "there is no option `recompute` yet")], runs: {} };
  const options = { ...dataOptions(DATA_SETS["shell-recipes"]), batchSize: BATCH, maxSteps: STEPS };
  const at = (recompute) => (seed) => trainHere(context, { ...options, recompute, seed });
  const runs = await alternate(context, { none: at("none"), cheap: at("cheap"), layer: at("layer") });
  const of = (name, value) => runs[name].map(value);
  const speed = (r) => rate(r, BATCH, WARM_UP);
  const memory = (r) => r.peakRssBytes / 1e9;
  const lines = ["cheap", "layer"].flatMap((name) => {
    const difference = Math.max(
      ...runs[name].map((r, i) => largestDifference(r.losses, runs.none[i].losses)),
    );
    const note = `losses differ by at most ${difference.toExponential(0)}`;
    const isLayer = name === "layer";
    const beside = (value) => ({ ours: of(name, value), peer: "without", theirs: of("none", value) });
    const floor = isLayer ? { of: "ratio", atLeast: 0.75 } : null;
    const roof = isLayer ? { of: "value", atMost: 1.2 } : null;
    return [
      comparison({ what: `recompute ${name}`, unit: "examples/s", ...beside(speed), target: floor, note }),
      comparison({ what: `recompute ${name}, peak memory`, unit: "GB", ...beside(memory), target: roof }),
    ];
  });
  return { lines, runs };
}

/** Memory against speed. */
export const recompute = {
  name: "recompute",
  title: "Recompute",
  about: `shell-recipes, batch ${BATCH}, rank 8 on q and v; ${STEPS} steps, the first ${WARM_UP} do not count.`,
  measure,
};

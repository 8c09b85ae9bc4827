import { fileURLToPath } from "node:url";
import { train } from "../lib/lowrank.mjs";
import { DATA, MODEL } from "../lib/model.mjs";

/** The same settings as in sft.py. */
export const SETTINGS = {
  model: MODEL,
  data: [DATA],
  rank: 8,
  alpha: 16,
  targetModules: ["q_proj", "v_proj"],
  batchSize: 8,
  learningRate: 1e-3,
  warmupSteps: 10,
};
export const SFT = fileURLToPath(new URL("./sft.py", import.meta.url));
export const PEFT_SIDE = fileURLToPath(new URL("../parity/peft_side.py", import.meta.url));
export const RESULTS = fileURLToPath(new URL("../results/", import.meta.url));

/** Trains with lowrank and gathers what it says: steps, evaluations, and the `done` event; and the seconds from the start of
 *  the process to the start of the first step. */
export async function trainLowrank(options) {
  const seen = { steps: [], evaluations: [], done: null, firstStepSeconds: null };
  for await (const event of train({ ...SETTINGS, samples: 0, ...options })) {
    if (event.type === "step") seen.firstStepSeconds ??= (performance.now() - event.elapsedMs) / 1000;
    if (event.type === "step") seen.steps.push(event);
    if (event.type === "evaluation") seen.evaluations.push(event);
    if (event.type === "done") seen.done = event;
  }
  return seen;
}

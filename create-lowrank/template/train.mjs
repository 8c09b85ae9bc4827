// The same training from code: node train.mjs. It writes runs/from-code, and every step is an event.
import { train } from "lowrank";

const events = train({
  model: "smollm2-135m",
  data: ["data/train.jsonl"],
  testData: ["data/test.jsonl"],
  output: "runs/from-code",
  rank: 8,
  alpha: 16,
  learningRate: 1e-3,
  epochs: 2,
});

for await (const event of events) {
  if (event.type === "warning") console.warn(event.message);
  if (event.type === "step") console.log(`step ${event.step}/${event.steps}: loss ${event.loss.toFixed(3)}`);
  if (event.type === "evaluation") console.log(`${event.split} loss ${event.loss.toFixed(3)}`);
  if (event.type === "done") console.log(`adapter: ${event.adapterPath}`);
}

/** One training in a process of its own: node run.mjs '<options as JSON>' prints its plan, its end and its steps' seconds. */
import { train } from "../lib/lowrank.mjs";

const seen = { plan: null, done: null, seconds: [] };
for await (const event of train(JSON.parse(process.argv[2]))) {
  if (event.type === "step") seen.seconds.push(event.elapsedMs / 1000);
  if (event.type === "plan" || event.type === "done") seen[event.type] = event;
}
process.stdout.write(JSON.stringify(seen));

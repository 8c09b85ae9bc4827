import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { SFT } from "../trl/settings.mjs";
import { trainConfigSchema } from "./lowrank.mjs";
import { run } from "./peers.mjs";
import { sum } from "./statistics.mjs";

const sideFile = (name) => fileURLToPath(new URL(`../sides/${name}`, import.meta.url));
const TRAIN = fileURLToPath(new URL("../trl/lowrank-run.mjs", import.meta.url));

/** Whether training here has an option of that name. */
export function hasOption(name) {
  return name in trainConfigSchema.shape;
}

/** Runs a script of sides/ in a process of its own: { …what it prints, wallSeconds }. */
export async function side(name, options) {
  const started = performance.now();
  const text = await run(process.execPath, [sideFile(name), JSON.stringify(options)]);
  return { ...JSON.parse(text), wallSeconds: (performance.now() - started) / 1000 };
}

/** Trains here in a process of its own; calls `use` with what it measured, the checkpoint of step 1 and the run folder, which is
 *  removed afterwards. The first update has the rate 0, so the checkpoint of step 1 holds the first A and a B of zeros. */
export async function trainHere(context, options, use = (measured) => measured) {
  const output = join(context.work, "run");
  const own = { output, offline: true, samples: 0, checkpointEvery: 1, keepCheckpoints: 1000, ...options };
  try {
    const measured = JSON.parse(await run(process.execPath, [TRAIN, JSON.stringify(own)]));
    return await use(measured, join(output, "checkpoints/step-0000001"), output);
  } finally {
    await rm(output, { recursive: true, force: true });
  }
}

/** TRL's SFTTrainer on batches of examples that are encoded already, from an adapter to start with. */
export async function trainInTrl(context, { start, batches }) {
  say("    the same batches in TRL");
  const [rows, result] = [join(context.work, "trl-rows.jsonl"), join(context.work, "trl.json")];
  const lines = batches
    .flat()
    .map(({ ids, labels }) => JSON.stringify({ input_ids: ids, completion_mask: labels }));
  await writeFile(rows, `${lines.join("\n")}\n`);
  await run(context.peers.python, [
    SFT,
    context.peers.model,
    rows,
    rows,
    ...[
      "--work",
      join(context.work, "trl"),
      "--result",
      result,
      "--start",
      start,
      "--batch",
      `${batches[0].length}`,
    ],
    ...["--max-steps", `${batches.length}`, "--encoded", "--in-order", "--no-evaluation"],
  ]);
  return JSON.parse(await readFile(result, "utf8"));
}

/** PyTorch and PEFT on dense batches, eager or compiled. */
export async function trainDense(context, { start, batches, compile }) {
  say(`    the same batches in PyTorch, ${compile ? "compiled" : "eager"}`);
  const [plan, result] = [join(context.work, "dense.json"), join(context.work, "dense-result.json")];
  await writeFile(plan, JSON.stringify(batches.map((batch) => batch.map(({ ids }) => ids))));
  await mkdir(context.work, { recursive: true });
  const files = [context.peers.model, start, plan, result];
  await run(context.peers.python, [sideFile("dense.py"), ...files, ...(compile ? ["--compile"] : [])]);
  return JSON.parse(await readFile(result, "utf8"));
}

/** Something per second over the steps that count. `perStep`: how much of it a step holds. */
export function rate({ stepSeconds }, perStep, warmUp) {
  const counted = stepSeconds.slice(warmUp);
  return (perStep * counted.length) / sum(counted);
}

export function say(text) {
  process.stderr.write(`${text}\n`);
}

/** Rounds of all sides in turn: { side: [result of each round] }. */
export async function alternate(context, sides) {
  const results = Object.fromEntries(Object.keys(sides).map((name) => [name, []]));
  for (let round = 0; round < context.rounds; round++)
    for (const [name, measure] of Object.entries(sides)) {
      const started = performance.now();
      results[name].push(await measure(round));
      say(`  round ${round + 1}, ${name}: ${((performance.now() - started) / 1000).toFixed(1)} s`);
    }
  return results;
}

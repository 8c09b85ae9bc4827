/** Profiles training steps on shell-recipes (`lowrank train --profile`) and draws where their time goes: docs/step.svg from
 *  results/profile-before.json and results/profile-after.json, whichever are there.
 *    node bench/profile.mjs --name before    measures, writes results/profile-before.json, draws
 *    node bench/profile.mjs                  draws only */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { profileChart } from "../dist/train/report/profile-chart.js";
import { DATA_SETS, dataOptions } from "./lib/examples.mjs";
import { train } from "./lib/lowrank.mjs";
import { describeMachine, machineLine } from "./lib/machine.mjs";
import { withWorkFolder } from "./lib/peers.mjs";
import { RESULTS, SETTINGS } from "./trl/settings.mjs";

const NAMES = ["before", "after"];
/** Steps that a profile takes, with one to spare. */
const STEPS = 8;
const CHART = fileURLToPath(new URL("../docs/step.svg", import.meta.url));
const pathOf = (name) => join(RESULTS, `profile-${name}.json`);

async function profiled(work) {
  const options = {
    ...SETTINGS,
    ...dataOptions(DATA_SETS["shell-recipes"]),
    maxSteps: STEPS,
    samples: 0,
    offline: true,
  };
  for await (const event of train({ ...options, output: join(work, "run"), profile: true }))
    if (event.type === "profile") return event.profile;
  throw new Error("the run ended without a profile");
}

const { values } = parseArgs({ options: { name: { type: "string" } } });
if (values.name !== undefined) {
  if (!NAMES.includes(values.name))
    throw new Error(`--name: expected ${NAMES.join(" or ")}, got ${values.name}`);
  const profile = await withWorkFolder(undefined, profiled);
  const machine = await describeMachine(null);
  await writeFile(pathOf(values.name), `${JSON.stringify({ machine, profile }, null, 2)}\n`);
}
const read = (name) =>
  readFile(pathOf(name), "utf8").then(
    (text) => [{ name, ...JSON.parse(text) }],
    () => [],
  );
const found = (await Promise.all(NAMES.map(read))).flat();
await writeFile(CHART, `${profileChart(found)}\n`);
for (const { name, profile, machine } of found) {
  process.stdout.write(
    `${name}: ${profile.passMs.toFixed(0)} ms a pass, mean of ${profile.passes}; ${machineLine(machine)}\n`,
  );
  for (const { name: kind, forwardMs, backwardMs } of profile.byKind) {
    const share = (100 * (forwardMs + backwardMs)) / profile.passMs;
    process.stdout.write(`  ${kind.padEnd(30)} ${share.toFixed(1).padStart(5)}%\n`);
  }
}

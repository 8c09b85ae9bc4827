/** Training speed and memory of lowrank and TRL, in turn, on the same batches.
 *    node bench/trl/throughput.mjs --peers DIR [--steps 25] [--rounds 3] */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { batchOrder } from "../lib/lowrank.mjs";
import { describeMachine, machineLine } from "../lib/machine.mjs";
import { FILES } from "../lib/model.mjs";
import { findPeers, run, withWorkFolder } from "../lib/peers.mjs";
import { median } from "../lib/statistics.mjs";
import { RESULTS, SETTINGS, SFT } from "./settings.mjs";

const LOWRANK_RUN = fileURLToPath(new URL("./lowrank-run.mjs", import.meta.url));
/** Steps at the start that do not count: caches and memory pools fill up, on both sides. */
const WARM_UP = 2;

/** The training rows in the order that lowrank takes them in with this seed. */
async function orderedRows(seed, path) {
  const lines = (await readFile(FILES.train, "utf8")).trimEnd().split("\n");
  const order = batchOrder({ count: lines.length, batchSize: SETTINGS.batchSize, seed, epoch: 0 });
  await writeFile(path, `${order.flatMap((indices) => Array.from(indices, (i) => lines[i])).join("\n")}\n`);
}

async function runLowrank(work, seed, steps) {
  const output = join(work, `lowrank-${seed}`);
  // One row to test on: this measures training.
  const testData = [join(work, "test.jsonl")];
  const options = {
    output,
    seed,
    maxSteps: steps,
    testData,
    promptField: "prompt",
    completionField: "command",
  };
  return JSON.parse(await run(process.execPath, [LOWRANK_RUN, JSON.stringify(options)]));
}

async function runTrl(peers, work, seed, steps) {
  const [rows, result] = [join(work, `rows-${seed}.jsonl`), join(work, `trl-${seed}.json`)];
  await orderedRows(seed, rows);
  const files = [
    peers.model,
    rows,
    join(work, "test.jsonl"),
    "--work",
    join(work, "trl"),
    "--result",
    result,
  ];
  await run(peers.python, [SFT, ...files, "--max-steps", String(steps), "--in-order", "--no-evaluation"]);
  return JSON.parse(await readFile(result, "utf8"));
}

async function timed(name, seed, start) {
  const started = performance.now();
  const { stepSeconds, losses, peakRssBytes } = await start();
  const processSeconds = (performance.now() - started) / 1000;
  const counted = stepSeconds.slice(WARM_UP);
  const examplesPerSecond = (counted.length * SETTINGS.batchSize) / counted.reduce((a, b) => a + b, 0);
  process.stderr.write(`${name}, seed ${seed}: ${examplesPerSecond.toFixed(2)} examples/s\n`);
  return { name, seed, examplesPerSecond, peakRssBytes, processSeconds, stepSeconds, losses };
}

async function measure(peers, work, rounds, steps) {
  await mkdir(work, { recursive: true });
  const [firstLine] = (await readFile(FILES.test, "utf8")).split("\n");
  await writeFile(join(work, "test.jsonl"), `${firstLine}\n`);
  const runs = [];
  for (let seed = 0; seed < rounds; seed++) {
    runs.push(await timed("TRL", seed, () => runTrl(peers, work, seed, steps)));
    runs.push(await timed("lowrank", seed, () => runLowrank(work, seed, steps)));
  }
  return runs;
}

function summaryOf(runs) {
  const of = (name, field) => median(runs.filter((r) => r.name === name).map((r) => r[field]));
  const fields = ["examplesPerSecond", "peakRssBytes", "processSeconds"];
  const [trl, lowrank] = ["TRL", "lowrank"].map((name) =>
    Object.fromEntries(fields.map((f) => [f, of(name, f)])),
  );
  return { trl, lowrank, ratio: lowrank.examplesPerSecond / trl.examplesPerSecond };
}

function cells({ examplesPerSecond, peakRssBytes, processSeconds }) {
  return `${examplesPerSecond.toFixed(2)} | ${(peakRssBytes / 1e9).toFixed(2)} | ${processSeconds.toFixed(1)}`;
}

function render({ machine, steps, rounds, runs, summary }) {
  return `# Training speed beside TRL

SmolLM2-135M-Instruct on shell-recipes: LoRA of rank 8 on q and v, batch 8. Each round has its own seed; in a round both
sides take the same batches in the same order. ${steps} steps in each run, of which the first ${WARM_UP} do not count. Peak memory is the
largest resident set of the process; the last column is the whole process from start to end.

    npm run build && node bench/trl/throughput.mjs --peers DIR --steps ${steps} --rounds ${rounds}

${machineLine(machine)}

| | round | examples/s | peak memory, GB | process, s |
|-|-|-|-|-|
${runs.map((r) => `| ${r.name} | ${r.seed + 1} | ${cells(r)} |`).join("\n")}
| **TRL** | median | ${cells(summary.trl)} |
| **lowrank** | median | ${cells(summary.lowrank)} |

lowrank trains **${summary.ratio.toFixed(2)} times** as many examples per second.
`;
}

const { values } = parseArgs({
  options: {
    peers: { type: "string" },
    steps: { type: "string", default: "25" },
    rounds: { type: "string", default: "3" },
    keep: { type: "string" },
  },
});
const peers = await findPeers(values.peers);
const [steps, rounds] = [Number(values.steps), Number(values.rounds)];
if (!(steps > WARM_UP)) throw new Error(`--steps: expected more than ${WARM_UP}, got ${values.steps}`);
const machine = await describeMachine(peers);
const runs = await withWorkFolder(values.keep, (work) => measure(peers, work, rounds, steps));
const result = { machine, steps, rounds, summary: summaryOf(runs), runs };
await writeFile(join(RESULTS, "throughput.json"), `${JSON.stringify(result, null, 2)}\n`);
await writeFile(join(RESULTS, "throughput.md"), render(result));
process.stdout.write(render(result));

/** Every method on the same examples: parameters, loss, speed, memory and bytes on disk.
 *    node bench/methods.mjs [--steps 60] [--methods lora,bitfit] [--results FOLDER] [--keep FOLDER] */
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { METHOD_NAMES } from "./lib/lowrank.mjs";
import { describeMachine, machineLine } from "./lib/machine.mjs";
import { run, withWorkFolder } from "./lib/peers.mjs";

const RUN = fileURLToPath(new URL("./methods/run.mjs", import.meta.url));
const RESULTS = fileURLToPath(new URL("./results/", import.meta.url));
const BATCH_SIZE = 8;
/** Steps at the start that do not count for the speed: caches and memory pools fill up. */
const WARM_UP = 2;

/** The same for all; the last step's checkpoint alone. */
const SHARED = {
  ...{ model: "smollm2-135m", data: ["shell-recipes"], samples: 0, seed: 0 },
  ...{ batchSize: BATCH_SIZE, warmupSteps: 5, schedule: "linear" },
};

/** LoRA and its relatives on q and v, as in the paper. */
const RANK = { rank: 8, targetModules: ["q_proj", "v_proj"] };
const LORA = { ...RANK, alpha: 16 };
const BOTTLENECK = { adapterSize: 16 };
const PREFIX = { prefixLength: 20 };

/** What each method trains with beside that. */
const METHODS = {
  full: { learningRate: 5e-5 },
  "full, last 2 layers": { method: "full", layers: "last:2", learningRate: 2e-4 },
  bitfit: { learningRate: 3e-3 },
  "adapter-houlsby": { ...BOTTLENECK, learningRate: 1e-3 },
  "adapter-pfeiffer": { ...BOTTLENECK, learningRate: 1e-3 },
  "adapter-lin": { ...BOTTLENECK, learningRate: 1e-3 },
  "adapter-houlsby, 10 layers dropped": {
    ...BOTTLENECK,
    method: "adapter-houlsby",
    adapterDrop: 10,
    learningRate: 1e-3,
  },
  "prefix-embedding": { ...PREFIX, learningRate: 1e-2 },
  "prefix-layer": { ...PREFIX, learningRate: 5e-3 },
  "prefix-tuning": { ...PREFIX, learningRate: 1e-2 },
  lora: { ...LORA, learningRate: 2e-3 },
  rslora: { ...LORA, learningRate: 1e-3 },
  "lora-plus": { ...LORA, learningRate: 5e-4 },
  dora: { ...LORA, learningRate: 2e-3 },
  pissa: { ...LORA, learningRate: 5e-4 },
  olora: { ...LORA, learningRate: 1e-4 },
  adalora: { ...LORA, learningRate: 5e-3 },
  vera: { ...RANK, rank: 256, learningRate: 1e-2 },
  ia3: { targetModules: "all-linear", learningRate: 1e-2 },
  intrinsic: { targetModules: RANK.targetModules, learningRate: 3e-2 },
  "lora+prefix-embedding": { ...LORA, ...PREFIX, learningRate: 2e-3 },
  "lora+prefix-layer": { ...LORA, ...PREFIX, learningRate: 2e-3 },
};

function chosenMethods(list) {
  const missing = METHOD_NAMES.filter((name) => METHODS[name] === undefined);
  if (missing.length > 0) throw new Error(`methods without options here: ${missing.join(", ")}`);
  const names = list?.split(",").map((name) => name.trim()) ?? Object.keys(METHODS);
  const unknown = names.filter((name) => METHODS[name] === undefined);
  if (unknown.length > 0) throw new Error(`--methods: no ${unknown.join(", ")}`);
  return names;
}

/** One method in a process of its own, for its peak memory. */
async function measure(name, steps, work) {
  const output = join(work, name.replace(/\W+/g, "-"));
  const own = METHODS[name];
  const options = { ...SHARED, method: name, ...own, output, maxSteps: steps, checkpointEvery: steps };
  const { plan, done, seconds } = JSON.parse(await run(process.execPath, [RUN, JSON.stringify(options)]));
  await rm(output, { recursive: true });
  const counted = seconds.slice(Math.min(WARM_UP, seconds.length - 1));
  const examplesPerSecond = (counted.length * BATCH_SIZE) / counted.reduce((a, b) => a + b, 0);
  const { lossBefore, lossAfter, measured } = done;
  const { trainableParameters, share, resources: planned } = plan;
  process.stderr.write(`${name}: ${lossBefore.toFixed(3)} → ${lossAfter.toFixed(3)}\n`);
  return {
    ...{ name, options: own, trainableParameters, share, lossBefore, lossAfter, examplesPerSecond },
    ...{ measured, planned },
  };
}

const mebibytes = (bytes) => {
  const value = bytes / 2 ** 20;
  return value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0);
};

function line({ name, options, trainableParameters, measured, planned, ...row }) {
  const { learningRate } = options;
  const losses = [row.lossBefore, row.lossAfter].map((x) => x.toFixed(3));
  const cells = [
    name,
    learningRate.toExponential().replace("+", ""),
    trainableParameters.toLocaleString("en-US"),
  ];
  const peaks = [measured.peakMemoryBytes, planned.memoryBytes].map((bytes) => (bytes / 1e9).toFixed(2));
  const disk = [measured.adapterBytes, measured.checkpointBytes].map(mebibytes);
  return `| ${[...cells, ...losses, row.examplesPerSecond.toFixed(2), ...peaks, ...disk].join(" | ")} |`;
}

function render({ machine, steps, rows }) {
  return `# Every method on the same examples

SmolLM2-135M-Instruct on shell-recipes: ${steps} steps of ${BATCH_SIZE} examples, the same for every method in the same order; learning rate
linear with 5 warm-up steps, its peak in the table, not tuned beyond a first choice. LoRA and its relatives: rank 8 (VeRA 256), alpha
16, on q and v. IA3: keys, values and the MLP. Bottlenecks of width 16, prefixes of 20 tokens. Losses are those of the 213 test rows
in nats per token before and after; an untrained prefix is not the base. Each method ran in a process of its own; peak memory is its
largest resident set, beside it what the plan said. The first ${WARM_UP} steps do not count for the speed.

    npm run build && node bench/methods.mjs --steps ${steps}

${machineLine(machine)}

| method | learning rate | trained parameters | loss before | after | examples/s | peak memory, GB | planned, GB | adapter, MiB | checkpoint, MiB |
|-|-|-|-|-|-|-|-|-|-|
${rows.map(line).join("\n")}
`;
}

const { values } = parseArgs({
  options: {
    steps: { type: "string", default: "60" },
    methods: { type: "string" },
    results: { type: "string", default: RESULTS },
    keep: { type: "string" },
  },
});
const steps = Number(values.steps);
if (!(Number.isInteger(steps) && steps >= 2))
  throw new Error(`--steps: expected 2 or more, got ${values.steps}`);
const names = chosenMethods(values.methods);
const machine = await describeMachine(null);
const rows = await withWorkFolder(values.keep, async (work) => {
  const measured = [];
  for (const name of names) measured.push(await measure(name, steps, work));
  return measured;
});
const result = { machine, steps, batchSize: BATCH_SIZE, rows };
const folder = resolve(values.results);
await mkdir(folder, { recursive: true });
await writeFile(join(folder, "methods.json"), `${JSON.stringify(result, null, 2)}\n`);
await writeFile(join(folder, "methods.md"), render(result));
process.stdout.write(render(result));

/** Latency of merged, unmerged and bottleneck adapters beside the base (the paper's Table 1, in small).
 *    node bench/latency.mjs [--scale 8] [--rounds 11] [--decode 32] [--methods adapter-houlsby,…] [--model M] [--keep DIR] */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { LowrankError, loadModel, methodsWith, train } from "./lib/lowrank.mjs";
import { describeMachine, machineLine } from "./lib/machine.mjs";
import { FILES, MODEL } from "./lib/model.mjs";
import { withWorkFolder } from "./lib/peers.mjs";

const RESULTS = fileURLToPath(new URL("./results/", import.meta.url));
/** Batch size and sequence length of the paper's Table 1; lengths are divided by --scale. */
const PAPER = [
  { batch: 32, length: 512, repeats: 1 },
  { batch: 16, length: 256, repeats: 1 },
  { batch: 1, length: 128, repeats: 8 }, // in a row, to be long enough to be timed
];
const BOTTLENECKS = ["adapter-houlsby", "adapter-lin", "adapter-pfeiffer"];
/** Calls of each kind that do not count: shapes are planned and memory pools fill up. */
const WARM_UP = 2;
/** Threads of a model that has just run spin for a moment: they are not to slow the next one down. */
const PAUSE_MS = 30;

/** An adapter of a method after one step on a few rows, so small that it answers as the base does (values cost nothing, the
 *  length of an answer does); null where there is no such method. */
async function makeAdapter(method, settings, work) {
  const rows = (await readFile(FILES.train, "utf8")).split("\n").slice(0, 8);
  const data = join(work, "rows.jsonl");
  await writeFile(data, `${rows.join("\n")}\n`);
  const fields = { promptField: "prompt", completionField: "command", maxLength: 128 };
  const short = { maxSteps: 1, batchSize: 4, warmupSteps: 0, samples: 0, learningRate: 1e-6 };
  const output = join(work, method);
  const made = { method, adapter: null, parameters: 0 };
  try {
    for await (const event of train({
      ...{
        model: settings.model,
        method,
        data: [data],
        output,
        ...(methodsWith("rank").includes(method) ? { rank: 8, targetModules: ["q_proj", "v_proj"] } : {}),
      },
      ...fields,
      ...short,
    })) {
      if (event.type === "plan") made.parameters = event.trainableParameters;
      if (event.type === "done") made.adapter = event.adapterPath;
    }
    return made;
  } catch (error) {
    if (error instanceof LowrankError && error.message.includes("there is no method")) return null;
    throw error;
  }
}

/** Token ids that are all alike for every model: what they are does not matter for the time. */
function sequences({ batch, length }, vocabulary) {
  return Array.from({ length: batch }, (_, r) =>
    Array.from({ length }, (_, i) => (7919 * (r * length + i) + 13) % vocabulary),
  );
}

async function timed(work) {
  await new Promise((done) => setTimeout(done, PAUSE_MS));
  const started = performance.now();
  const result = await work();
  return { elapsedMs: performance.now() - started, result };
}

/** Every task on every variant in turn (a task says by how many its time is to be divided), the order rotating from round to round: [{ variant, task, ms: [round] }]. */
async function alternate(variants, tasks, rounds) {
  const seen = variants.flatMap(({ variant, model }) =>
    tasks.map(({ task, run }) => ({ variant, task, run: () => run(model), ms: [] })),
  );
  for (const { task } of tasks) {
    const cells = seen.filter((s) => s.task === task);
    for (let round = -WARM_UP; round < rounds; round++)
      for (let i = 0; i < cells.length; i++) {
        const cell = cells[(i + round + WARM_UP) % cells.length];
        const { elapsedMs, result } = await timed(cell.run);
        if (round >= 0) cell.ms.push(elapsedMs / result);
      }
    process.stderr.write(
      `${task}: ${cells.map((c) => `${c.variant} ${median(c.ms).toFixed(1)} ms`).join(", ")}\n`,
    );
  }
  return seen.map(({ variant, task, ms }) => ({ variant, task, ms }));
}

function median(values) {
  return quantile(values, 0.5);
}

function quantile(values, share) {
  const sorted = values.toSorted((a, b) => a - b);
  const at = share * (sorted.length - 1);
  const [low, high] = [sorted[Math.floor(at)], sorted[Math.ceil(at)]];
  return low + (at - Math.floor(at)) * (high - low);
}

/** Ratio to the base of the same round: median and quartiles. */
function ratiosOf(cells, group) {
  return cells.map(({ variant, task, ms }) => {
    const base = cells.find((c) => c.task === task && c.variant === "base").ms;
    const ratios = ms.map((x, i) => x / base[i]);
    const [low, middle, high] = [0.25, 0.5, 0.75].map((share) => quantile(ratios, share));
    return { group, variant, task, medianMs: median(ms), ratio: { low, median: middle, high }, ms };
  });
}

function tasksOf(settings, vocabulary) {
  const passes = PAPER.map((shape) => ({
    ...shape,
    length: Math.max(1, Math.round(shape.length / settings.scale)),
  }));
  const forward = passes.map((shape) => {
    const batch = sequences(shape, vocabulary);
    const run = async (model) => {
      for (let i = 0; i < shape.repeats; i++) await model.nextLogits(batch);
      return shape.repeats;
    };
    return { task: `${shape.batch} × ${shape.length}`, run };
  });
  const request = { prompt: "Write a long story about a river.", maxTokens: settings.decode };
  const decode = async (model) => {
    const { ids } = await model.generateText(request);
    if (ids.length === settings.decode) return ids.length;
    throw new Error(`expected an answer of ${settings.decode} tokens, got ${ids.length}`);
  };
  return [...forward, { task: "one token", run: decode }];
}

/** Loads the variants side by side, measures them and closes them. */
async function measureGroup(group, variants, settings) {
  const opened = [];
  try {
    for (const { variant, adapter, merged } of variants) {
      const model = await loadModel({
        model: settings.model,
        contextLength: settings.context,
        ...(adapter ? { adapter } : {}),
      });
      opened.push({ variant, model });
      if (merged) await model.merge();
    }
    const tasks = tasksOf(settings, opened[0].model.base.config.vocabSize);
    return ratiosOf(await alternate(opened, tasks, settings.rounds), group);
  } finally {
    for (const { model } of opened) await model.close();
  }
}

async function measure(settings, work) {
  const lora = await makeAdapter("lora", settings, work);
  const cells = await measureGroup(
    "merging",
    [
      { variant: "base" },
      { variant: "base, again" },
      { variant: "LoRA, merged", adapter: lora.adapter, merged: true },
      { variant: "LoRA, unmerged", adapter: lora.adapter },
    ],
    settings,
  );
  const [parameters, missing] = [{ lora: lora.parameters }, []];
  for (const method of settings.methods) {
    const made = await makeAdapter(method, settings, work);
    if (made === null) {
      missing.push(method);
      continue;
    }
    parameters[method] = made.parameters;
    const pair = [{ variant: "base" }, { variant: method, adapter: made.adapter }];
    cells.push(...(await measureGroup(method, pair, settings)));
  }
  return { cells, parameters, missing };
}

function render({ machine, settings, cells, parameters, missing }) {
  const tasks = [...new Set(cells.map((c) => c.task))];
  const variants = cells.filter((c) => c.variant !== "base" || c.group === "merging");
  const row = (name, of) =>
    `| ${name} | ${tasks.map((task) => of(variants.filter((c) => c.task === task && c.variant === name)[0])).join(" | ")} |`;
  const names = [...new Set(variants.map((c) => c.variant))];
  const ratioText = ({ ratio }) =>
    `${ratio.median.toFixed(3)} (${ratio.low.toFixed(3)} to ${ratio.high.toFixed(3)})`;
  const counts = Object.entries(parameters).map(([name, n]) => `${name} ${n.toLocaleString("en")}`);
  const left = missing.length > 0 ? `\nNot there to be measured: ${missing.join(", ")}.\n` : "";
  return `# Latency of adapters

${settings.model}: one forward pass of batch × tokens (those of the paper's Table 1, lengths divided by ${settings.scale}), and one token of decoding
(batch 1, an answer of up to ${settings.decode} tokens, prompt included). The variants take turns in every one of ${settings.rounds} rounds; a ratio is that to the base's time in the
same round: median, and the quartiles in brackets. "base, again" is a second copy of the base: what it is off 1 is noise.
Bottleneck adapters are each measured in turn with a base of their own.

    npm run build && node bench/latency.mjs --scale ${settings.scale} --rounds ${settings.rounds} --decode ${settings.decode}

${machineLine(machine)}

Parameters: ${counts.join(", ")}.
${left}
Median time, ms:

| | ${tasks.join(" | ")} |
|-|${tasks.map(() => "-|").join("")}
${names.map((name) => row(name, (c) => c.medianMs.toFixed(1))).join("\n")}

Ratio to the base:

| | ${tasks.join(" | ")} |
|-|${tasks.map(() => "-|").join("")}
${names
  .filter((name) => name !== "base")
  .map((name) => row(name, ratioText))
  .join("\n")}
`;
}

const { values } = parseArgs({
  options: {
    model: { type: "string", default: MODEL },
    scale: { type: "string", default: "8" },
    rounds: { type: "string", default: "11" },
    decode: { type: "string", default: "32" },
    methods: { type: "string", default: BOTTLENECKS.join(",") },
    results: { type: "string", default: RESULTS },
    keep: { type: "string" },
  },
});
const settings = {
  model: values.model,
  scale: Number(values.scale),
  rounds: Number(values.rounds),
  decode: Number(values.decode),
  methods: values.methods.split(",").filter(Boolean),
};
for (const name of ["scale", "rounds", "decode"])
  if (!(settings[name] >= 1)) throw new Error(`--${name}: expected a number from 1, got ${values[name]}`);
settings.context = Math.max(Math.ceil(PAPER[0].length / settings.scale), settings.decode + 64);
const machine = await describeMachine(null);
const measured = await withWorkFolder(values.keep, (work) => measure(settings, work));
const result = { machine, settings, ...measured };
await writeFile(join(values.results, "latency.json"), `${JSON.stringify(result, null, 2)}\n`);
await writeFile(join(values.results, "latency.md"), render(result));
process.stdout.write(render(result));

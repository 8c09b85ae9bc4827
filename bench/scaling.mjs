/** Training on several processes by Open MPI, one thread each: strong scaling (the same batch for all of them) and weak (a batch for each), the
 *  sums that they cost, and from these a model of 64 machines on paper. Writes results/scaling.md and .json.
 *    npm run build && node bench/scaling.mjs [--processes 1,2] [--steps 8] [--rounds 3] [--keep DIR] */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { describeMachine, machineLine } from "./lib/machine.mjs";
import { FILES, MODEL } from "./lib/model.mjs";
import { run, withWorkFolder } from "./lib/peers.mjs";
import { largestDifference, median } from "./lib/statistics.mjs";

const file = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));
const { values } = parseArgs({
  options: {
    processes: { type: "string", default: "1,2" },
    steps: { type: "string", default: "8" },
    rounds: { type: "string", default: "3" },
    keep: { type: "string" },
  },
});
const PROCESSES = values.processes.split(",").map(Number);
const [STEPS, ROUNDS] = [Number(values.steps), Number(values.rounds)];
/** Steps that do not count. */
const WARM_UP = 2;
const BATCH = 8;

/** Models on paper: layers, hidden size, widths of queries and of keys, of the MLP. */
const SHAPES = [
  { name: "135M", layers: 30, hidden: 576, width: 576, kv: 192, mlp: 1536 },
  { name: "1B", layers: 16, hidden: 2048, width: 2048, kv: 512, mlp: 8192 },
  { name: "8B", layers: 32, hidden: 4096, width: 4096, kv: 1024, mlp: 14336 },
];
const PAPER = { machines: 64, rank: 16, tokens: 4096 };
/** Bytes a second and seconds per message between two machines: 90% of the line, and a usual latency of TCP and of RDMA. */
const NETWORKS = [
  { name: "10 GbE", bytesPerSecond: 1.125e9, latency: 30e-6 },
  { name: "100 GbE", bytesPerSecond: 11.25e9, latency: 5e-6 },
];
/** Machines: as fast as this one, and 100 times that (a large server, or a GPU). */
const SPEEDS = [1, 100];

function mpirun(count, args) {
  return run("mpirun", ["--oversubscribe", "-n", String(count), process.execPath, ...args]);
}

process.env.OMPI_ALLOW_RUN_AS_ROOT = "1";
process.env.OMPI_ALLOW_RUN_AS_ROOT_CONFIRM = "1";

/** One run: milliseconds of a step (median), losses, tokens of a step. */
async function train(count, batch, output) {
  const options = {
    model: MODEL,
    data: FILES.train,
    "prompt-field": "prompt",
    "completion-field": "command",
    output,
    "batch-size": batch,
    "max-steps": STEPS,
    rank: 8,
    "target-modules": "q_proj,v_proj",
    samples: 0,
    "score-answers": 0,
    "warmup-ratio": 0,
    threads: 1,
  };
  const flags = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const text = await mpirun(count, [file("dist/cli/main.js"), "train", ...flags, "--json", "--offline"]);
  const lines = text.split("\n").filter((line) => line.startsWith("{"));
  const steps = lines.map((line) => JSON.parse(line)).filter((event) => event.type === "step");
  const counted = steps.slice(WARM_UP);
  return {
    ms: median(counted.map((s) => s.elapsedMs)),
    losses: steps.map((s) => s.loss),
    tokens: median(counted.map((s) => s.trieTokens)),
  };
}

const weightsOf = ({ layers, hidden, width, kv, mlp }) =>
  layers * (hidden * (2 * width + 2 * kv) + 3 * hidden * mlp);
/** Numbers of LoRA on every linear layer. */
const trainedOf = ({ layers, hidden, width, kv, mlp }, rank) =>
  layers * rank * (2 * (hidden + width) + 2 * (hidden + kv) + 3 * (hidden + mlp));

/** Seconds of a sum of `bytes` over n machines in a ring, as large ones are done: 2·(n−1)/n of the bytes pass each line, in 2·(n−1) messages; small
 *  ones in 2·log₂ n. */
function sumSeconds(bytes, n, { bytesPerSecond, latency }) {
  const ring = (2 * (n - 1) * bytes) / n / bytesPerSecond + 2 * (n - 1) * latency;
  const tree = 2 * Math.ceil(Math.log2(n)) * (bytes / bytesPerSecond + latency);
  return Math.min(ring, tree);
}

async function measure(work) {
  const cases = [
    ...PROCESSES.map((n) => ({ kind: "strong", n, batch: BATCH })),
    ...PROCESSES.map((n) => ({ kind: "strong", n, batch: 4 * BATCH })),
    ...PROCESSES.map((n) => ({ kind: "weak", n, batch: BATCH * n })),
  ].map((one) => ({ ...one, runs: [] }));
  for (let round = 0; round < ROUNDS; round++)
    for (const one of cases) {
      const name = `${one.kind}-${one.n}-${one.batch}-${round}`;
      one.runs.push(await train(one.n, one.batch, join(work, name)));
      console.error(`${name}: ${one.runs.at(-1).ms.toFixed(0)} ms a step`);
    }
  const sums = JSON.parse(await mpirun(Math.max(...PROCESSES), [file("bench/sides/all-reduce.mjs")]));
  return { cases, sums };
}

function rowsOf({ cases }) {
  return cases.map((one) => {
    const alone = cases.find(
      (c) => c.kind === one.kind && c.n === 1 && (one.kind === "weak" || c.batch === one.batch),
    );
    const ms = median(one.runs.map((r) => r.ms));
    const before = median(alone.runs.map((r) => r.ms));
    const perSecond = (1000 * one.batch) / ms;
    const speedup = perSecond / ((1000 * alone.batch) / before);
    const apart = one.kind === "strong" ? largestDifference(one.runs[0].losses, alone.runs[0].losses) : null;
    return { ...one, ms, tokens: median(one.runs.map((r) => r.tokens)), perSecond, speedup, apart };
  });
}

function markdown(machine, rows, sums, flopsPerSecond) {
  const { machines, rank, tokens } = PAPER;
  const table = (head, lines) =>
    [head, head.map(() => "-"), ...lines].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
  const measured = rows.map((r) => [
    r.kind,
    r.n,
    r.batch,
    r.tokens,
    r.ms.toFixed(0),
    r.perSecond.toFixed(2),
    `${r.speedup.toFixed(2)}×`,
    r.apart === null ? "" : r.apart.toExponential(0),
  ]);
  const paper = SHAPES.flatMap((shape) =>
    SPEEDS.map((speed) => {
      const step = (4 * tokens * weightsOf(shape)) / (flopsPerSecond * speed);
      const bytes = 4 * trainedOf(shape, rank);
      const shares = NETWORKS.flatMap((network) => {
        const sum = sumSeconds(bytes, machines, network);
        return [`${(1000 * sum).toFixed(1)} ms`, `${((100 * step) / (step + sum)).toFixed(1)}%`];
      });
      return [
        shape.name,
        `${speed}×`,
        `${(bytes / 2 ** 20).toFixed(1)} MiB`,
        `${step.toPrecision(3)} s`,
        ...shares,
      ];
    }),
  );
  return `# Several processes

${MODEL} on shell-recipes, LoRA of rank 8 on q and v, one thread for each process, ${STEPS} steps of which ${WARM_UP} do not count; medians of ${ROUNDS} rounds in
turn. Strong: all share a batch. Weak: each brings a batch of ${BATCH}. The speedup is of examples per second. Losses are compared with those of one process.

    npm run build && node bench/scaling.mjs --processes ${PROCESSES.join(",")} --steps ${STEPS} --rounds ${ROUNDS}

${machineLine(machine)}

${table(["scaling", "processes", "batch", "tokens computed", "ms a step", "examples/s", "speedup", "losses apart"], measured)}

What examples begin with alike is computed once in a process: two processes compute it twice, so they compute more tokens together.

## Sums over ${Math.max(...PROCESSES)} processes of one machine

${table(
  ["bytes", "ms"],
  sums.map(({ bytes, ms }) => [bytes, ms.toPrecision(3)]),
)}

## ${machines} machines, on paper

Not measured. A step of ${tokens} tokens a machine takes 4·N·P FLOPs (N tokens, P weights of the linear layers: forward, and gradients by the inputs),
at the ${(flopsPerSecond / 1e9).toFixed(0)} GFLOP/s of one process of this machine in the weak rows, or ${SPEEDS[1]} times that. The gradient is that of LoRA of rank ${rank} on
every linear layer. A sum over n machines takes the lesser of 2·(n−1)/n·bytes/bandwidth + 2·(n−1)·latency (a ring) and
2·⌈log₂ n⌉·(bytes/bandwidth + latency) (a tree); ${NETWORKS.map((w) => `${w.name}: ${w.bytesPerSecond / 1e9} GB/s, ${w.latency * 1e6} µs`).join("; ")}. The share is the
part of a step that computes, if all machines have the same work.

${table(["model", "machine", "gradient", "step", ...NETWORKS.flatMap((w) => [`sum, ${w.name}`, "share"])], paper)}
`;
}

await withWorkFolder(values.keep, async (work) => {
  const machine = await describeMachine(null);
  const { cases, sums } = await measure(work);
  const rows = rowsOf({ cases });
  const one = rows.find((r) => r.kind === "weak" && r.n === 1);
  const flopsPerSecond = (4 * one.tokens * weightsOf(SHAPES[0])) / (one.ms / 1000);
  const results = file("bench/results/");
  await writeFile(
    join(results, "scaling.json"),
    `${JSON.stringify({ machine, rows, sums, flopsPerSecond }, null, 2)}\n`,
  );
  await writeFile(join(results, "scaling.md"), markdown(machine, rows, sums, flopsPerSecond));
});

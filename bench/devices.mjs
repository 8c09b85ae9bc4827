// Training steps and decoded tokens on devices, beside the CPU: seconds a step (also of all processors), tokens per second, peak memory of the process.
// usage: node bench/devices.mjs [--devices cpu,webgpu] [--cases r8,r64] [--steps 6] [--batch 8] [--model smollm2-135m] [--results FILE.md]
import { fork } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { describeMachine, machineLine } from "./lib/machine.mjs";
import { median } from "./lib/statistics.mjs";

const { values } = parseArgs({
  options: {
    devices: { type: "string", default: "cpu,webgpu" },
    cases: { type: "string", default: "r8,r64,decode" },
    steps: { type: "string", default: "6" },
    batch: { type: "string", default: "8" },
    model: { type: "string", default: "smollm2-135m" },
    results: { type: "string" },
    /** The built package to measure, for one build beside another. */
    dist: { type: "string", default: fileURLToPath(new URL("../dist/", import.meta.url)) },
  },
});

const DATA = fileURLToPath(new URL("../data/shell-recipes/train.jsonl", import.meta.url)); // a file: no evaluation
const SHARED = {
  data: [DATA],
  samples: 0,
  seed: 0,
  batchSize: Number(values.batch),
  promptField: "task",
  completionField: "command",
};
const CASES = {
  r8: { ...SHARED, rank: 8, targetModules: ["q_proj", "v_proj"] },
  r64: { ...SHARED, rank: 64, targetModules: "all-linear" },
  decode: null,
};
/** Compiling and filling pools. */
const WARM_UP = 2;
const SIDE = fileURLToPath(new URL("./sides/device.mjs", import.meta.url));

async function measured(device, name) {
  const folder = await mkdtemp(join(tmpdir(), "lowrank-devices-"));
  const options = CASES[name];
  const request = {
    dist: values.dist,
    train: options && {
      ...options,
      ...{ model: values.model, device, maxSteps: Number(values.steps), output: join(folder, "run") },
    },
    generate: { model: values.model, device, tokens: 8 * Number(values.steps) },
  };
  const child = fork(SIDE, [JSON.stringify(request)], { stdio: ["ignore", "ignore", "inherit", "ipc"] });
  const result = await new Promise((resolve) => {
    child.once("message", resolve);
    child.once("exit", (code, signal) => resolve({ error: `ended by ${signal ?? `status ${code}`}` }));
  });
  await rm(folder, { recursive: true, force: true });
  return result;
}

const lines = ["| case | device | median | processor time | peak memory | losses |", "|-|-|-|-|-|-|"];
for (const name of values.cases.split(","))
  for (const device of values.devices.split(",")) {
    const { error, seconds, processorSeconds, losses, peakBytes, tokensPerSecond } = await measured(
      device,
      name,
    );
    const pace = seconds
      ? `${median(seconds.slice(WARM_UP)).toFixed(2)} s a step`
      : `${tokensPerSecond?.toFixed(2)} tokens/s`;
    const cells = error
      ? [error, "", "", ""]
      : [
          pace,
          processorSeconds ? `${median(processorSeconds.slice(WARM_UP)).toFixed(2)} s` : "",
          `${(peakBytes / 1e9).toFixed(2)} GB`,
          (losses ?? []).map((x) => x.toFixed(5)).join(" "),
        ];
    lines.push(`| ${[name, device, ...cells].join(" | ")} |`);
    console.log(lines.at(-1));
  }
const text = `${lines.join("\n")}\n\n${machineLine(await describeMachine(null))}\n`;
if (values.results) await writeFile(values.results, text);
else console.log(text);

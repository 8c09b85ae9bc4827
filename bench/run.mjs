/** Speed and memory of this project, beside PyTorch + PEFT + TRL and llama.cpp where they are given, in turn:
 *    npm run bench -- [--peers DIR] [--llama-cpp DIR] [--rows name,name] [--rounds 5] [--output FOLDER] [--keep FOLDER] */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { comparisonTable } from "./lib/comparison.mjs";
import { describeMachine, machineLine } from "./lib/machine.mjs";
import { findPeers, withWorkFolder } from "./lib/peers.mjs";
import { say, side } from "./lib/side.mjs";
import { ROWS } from "./rows/table.mjs";
import { RESULTS } from "./trl/settings.mjs";

const text = { type: "string" };
const { values } = parseArgs({
  options: {
    ...{ peers: text, "llama-cpp": text, keep: text },
    rows: { ...text, default: ROWS.map((row) => row.name).join(",") },
    rounds: { ...text, default: "5" },
    output: { ...text, default: RESULTS },
  },
});

function chosenRows() {
  const names = values.rows.split(",");
  const unknown = names.filter((name) => !ROWS.some((row) => row.name === name));
  if (unknown.length > 0)
    throw new Error(
      `--rows: no row ${unknown.join(", ")}; there are ${ROWS.map((row) => row.name).join(", ")}`,
    );
  return ROWS.filter((row) => names.includes(row.name));
}

function roundCount() {
  const rounds = Number(values.rounds);
  if (!Number.isInteger(rounds) || rounds < 1)
    throw new Error(`--rounds: expected a whole number ≥ 1, got ${values.rounds}`);
  return rounds;
}

/** Rows of earlier runs stay beside those that are measured now; each says on which machine it was. */
async function earlierRows(path) {
  const before = await readFile(path, "utf8").then(JSON.parse, () => null);
  return before?.rows ?? {};
}

function command({ name, rounds }) {
  const peers = [values.peers ? "--peers DIR" : "", values["llama-cpp"] ? "--llama-cpp DIR" : ""].filter(
    Boolean,
  );
  return ["npm run bench --", `--rows ${name}`, `--rounds ${rounds}`, ...peers].join(" ");
}

function section({ title, about, command: how, machine, minutes, gemm, lines }) {
  const shapes = Object.entries(gemm.shapes).map(([shape, gflops]) => `${shape} ${gflops.toFixed(0)}`);
  const peak = `Peak of float32 matrix products then (ONNX Runtime, tokens×in×out): ${shapes.join(", ")} GFLOP/s`;
  const where = `${machineLine(machine)} ${minutes.toFixed(1)} minutes. ${peak}.`;
  return `## ${title}\n\n${about}\n\n    ${how}\n\n${where}\n\n${comparisonTable(lines)}\n`;
}

function render(rows) {
  const all = Object.values(rows).flatMap((row) => row.lines);
  const count = (met) => all.filter((line) => line.met === met).length;
  const sections = ROWS.flatMap(({ name }) => (rows[name] ? [section(rows[name])] : []));
  return `# Speed and memory

Every value is a median over rounds in which the sides take turns, every measured run a process of its own unless said
otherwise. Ratio: lowrank / what stands beside it. Targets met: ${count(true)}, not met: ${count(false)}, lines skipped: ${all.filter((l) => l.skipped).length}.
Every section says on which machine it was measured: compare within a section.

    npm run bench -- --peers DIR --llama-cpp DIR

${sections.join("\n")}`;
}

async function main(work) {
  await mkdir(work, { recursive: true });
  const peers = values.peers ? await findPeers(values.peers) : null;
  const machine = await describeMachine(peers);
  const [json, markdown] = ["bench.json", "bench.md"].map((name) => join(values.output, name));
  await mkdir(values.output, { recursive: true });
  const rows = await earlierRows(json);
  for (const row of chosenRows()) {
    const gemm = await side("gemm.mjs", {});
    say(`${row.name}: GEMM peak ${gemm.gflops.toFixed(0)} GFLOP/s`);
    const llamaCpp = values["llama-cpp"] ? resolve(values["llama-cpp"]) : null;
    const context = { rounds: roundCount(), peers, llamaCpp, work: resolve(work), machine, gemm };
    const started = performance.now();
    const { lines, runs } = await row.measure(context);
    const { name, title, about } = row;
    const measured = { minutes: (performance.now() - started) / 60_000, machine, gemm };
    rows[name] = {
      title,
      about,
      command: command({ name, rounds: context.rounds }),
      ...measured,
      lines,
      runs,
    };
    say(comparisonTable(lines));
    // After every row: what is measured stays if a later one fails.
    await writeFile(json, `${JSON.stringify({ rows })}\n`);
    await writeFile(markdown, render(rows));
  }
  process.stdout.write(await readFile(markdown, "utf8"));
}

await withWorkFolder(values.keep, main);

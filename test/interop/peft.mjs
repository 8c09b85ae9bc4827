/** Adapters of every kind that PEFT names, between lowrank and PEFT, both ways. See README.md.
 *    node test/interop/peft.mjs --peers DIR [--only TEXT] [--keep FOLDER] */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { describeMachine } from "../../bench/lib/machine.mjs";
import { findPeers, run, withWorkFolder } from "../../bench/lib/peers.mjs";
import { loadModel, train } from "../../dist/index.js";
import { METHOD_NAMES } from "../../dist/peft/methods/table.js";
import { CASES } from "./peft-cases.mjs";
import { peftReport } from "./peft-report.mjs";

const SIDE = fileURLToPath(new URL("./peft_side.py", import.meta.url));
const RESULTS = fileURLToPath(new URL("../../bench/results/", import.meta.url));
const modelFolder = (name) => fileURLToPath(new URL(`../fixtures/models/${name}`, import.meta.url));
/** Tokens that every tiny model knows. */
const IDS = Array.from({ length: 24 }, (_, i) => 3 + ((i * 37) % 120));
const STEPS = 8;

const say = (text) => process.stderr.write(`${text}\n`);

async function writeRows(work) {
  const row = (i) =>
    JSON.stringify({ prompt: `list the files ${i}`, completion: `ls ${"-la ".repeat(i % 4)}f${i}` });
  const path = join(work, "rows.jsonl");
  await writeFile(path, `${Array.from({ length: 24 }, (_, i) => row(i)).join("\n")}\n`);
  return path;
}

/** Trains an adapter until its values are far from their start. */
async function trainHere(work, data, { name, model, train: options }) {
  const output = join(work, "runs", name);
  const fast = { maxLength: 60, learningRate: 0.1, maxSteps: STEPS, batchSize: 6, samples: 0, seed: 1 };
  for await (const event of train({
    ...fast,
    ...options,
    model: modelFolder(model),
    data: [data],
    output,
    offline: true,
  }))
    if (event.type === "done") return event.adapterPath;
  throw new Error(`${name}: the training did not end`);
}

async function logitsHere(work, model, adapter) {
  const loaded = await loadModel({
    model: modelFolder(model),
    cacheFolder: join(work, "cache"),
    offline: true,
    ...(adapter ? { adapter } : {}),
  });
  try {
    return await loaded.logits(IDS);
  } finally {
    await loaded.close();
  }
}

/** PEFT's logits of a case as lists [T][V]; the error where it gave none. */
async function logitsThere(path) {
  const error = await readFile(`${path}.error`, "utf8").catch(() => null);
  if (error !== null) throw new Error(`PEFT: ${error}`);
  const bytes = await readFile(path);
  const all = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
  const width = all.length / IDS.length;
  return IDS.map((_, t) => all.subarray(t * width, (t + 1) * width));
}

function largestDifference(a, b) {
  let largest = 0;
  a.forEach((row, t) => {
    row.forEach((x, v) => {
      const difference = Math.abs(x - b[t][v]);
      if (!(difference <= largest)) largest = difference; // NaN stays
    });
  });
  return largest;
}

const largestValue = (rows) =>
  largestDifference(
    rows,
    rows.map((row) => row.map(() => 0)),
  );

/** Logits of one adapter in both programs, beside those of the base: { error, effect, largest }, or { failure }. */
async function compared(base, here, there) {
  try {
    const [mine, theirs] = [await here(), await logitsThere(there)];
    const error = largestDifference(mine, theirs);
    return { error, effect: largestDifference(theirs, base), largest: largestValue(theirs) };
  } catch (failure) {
    return { failure: failure.message.split("\n").slice(0, 4).join(" ") };
  }
}

async function askPeft(peers, work, command, folder, cases) {
  const plan = join(work, `${command}.json`);
  await mkdir(join(work, command), { recursive: true });
  const asked = cases.map(({ name, model, peftType, peft }) => ({
    ...peft,
    name,
    peftType,
    model: modelFolder(model),
    folder: folder(name),
    logits: join(work, command, name),
  }));
  await writeFile(plan, JSON.stringify({ ids: IDS, cases: asked }));
  await run(peers.python, [SIDE, command, plan]);
}

async function compareAll(peers, work, cases) {
  await mkdir(work, { recursive: true });
  process.env.LOWRANK_CACHE = join(work, "cache");
  const data = await writeRows(work);
  const trained = {};
  const failures = {};
  for (const one of cases) {
    say(`lowrank, train: ${one.name}`);
    try {
      trained[one.name] = await trainHere(work, data, one);
    } catch (error) {
      failures[one.name] = error.message;
    }
  }
  const theirs = (name) => join(work, "peft", name);
  await askPeft(
    peers,
    work,
    "write",
    theirs,
    cases.filter((c) => c.peft),
  );
  await askPeft(peers, work, "read", (name) => trained[name] ?? join(work, "none"), cases);
  const bases = {};
  const rows = [];
  for (const { name, peftType, variant, model, peft } of cases) {
    bases[model] ??= await logitsHere(work, model, null);
    const between = (adapter, command) =>
      compared(bases[model], () => logitsHere(work, model, adapter), join(work, command, name));
    const toPeft = failures[name] ? { failure: failures[name] } : await between(trained[name], "read");
    const fromPeft = peft ? await between(theirs(name), "write") : null;
    rows.push({ peftType, variant, model, toPeft, fromPeft });
  }
  return rows;
}

const { values } = parseArgs({
  options: { peers: { type: "string" }, only: { type: "string", default: "" }, keep: { type: "string" } },
});
const peers = await findPeers(values.peers);
const chosen = CASES.filter((c) => c.name.includes(values.only));
const [cases, missing] = [true, false].map((has) =>
  chosen.filter((c) => METHOD_NAMES.includes(c.method) === has),
);
const machine = await describeMachine(peers);
const rows = await withWorkFolder(values.keep, (work) => compareAll(peers, work, cases));
const { text, failures } = peftReport({
  machine,
  rows,
  steps: STEPS,
  missing: [...new Set(missing.map((c) => c.peftType))],
});
process.stdout.write(text);
if (values.only === "") {
  await writeFile(join(RESULTS, "interchange-peft.json"), `${JSON.stringify({ machine, rows }, null, 2)}\n`);
  await writeFile(join(RESULTS, "interchange-peft.md"), text);
}
for (const failure of failures) say(failure);
process.exitCode = failures.length > 0 ? 1 : 0;

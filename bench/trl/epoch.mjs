/** One epoch in TRL and in lowrank, each as its user would run it, and every test loss by both sides' evaluation and in both
 *  conventions.
 *    node bench/trl/epoch.mjs --peers DIR [--trl-result FILE --trl-adapter DIR] [--lowrank-adapter DIR] */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { openBase } from "../lib/lowrank.mjs";
import { describeMachine } from "../lib/machine.mjs";
import { encodedData, evaluatedLoss, FILES, MODEL, plainRow, scoreRows } from "../lib/model.mjs";
import { findPeers, run, withWorkFolder } from "../lib/peers.mjs";
import { averages, compareRows } from "./averages.mjs";
import { epochReport } from "./epoch-report.mjs";
import { PEFT_SIDE, RESULTS, SFT, trainLowrank } from "./settings.mjs";

const readJson = async (path) => JSON.parse(await readFile(path, "utf8"));
const say = (text) => process.stderr.write(`${text}\n`);

function sft(peers, work, ...options) {
  return run(peers.python, [
    SFT,
    peers.model,
    FILES.train,
    FILES.test,
    "--work",
    join(work, "trl"),
    ...options,
  ]);
}

async function trlRun(peers, work, given) {
  if (given.result) return { ...(await readJson(given.result)), adapter: resolve(given.adapter) };
  say("TRL: one epoch");
  const [result, adapter] = [join(work, "trl.json"), join(work, "trl-adapter")];
  await sft(peers, work, "--result", result, "--adapter", adapter);
  return { ...(await readJson(result)), adapter };
}

async function lowrankRun(work, adapter) {
  if (adapter) return { adapter: resolve(adapter) };
  say("lowrank: one epoch");
  const { steps, evaluations, done } = await trainLowrank({ output: join(work, "run") });
  const [before, after] = evaluations.filter((e) => e.split === "test").map((e) => e.loss);
  return {
    adapter: done.adapterPath,
    lossBefore: before,
    lossAfter: after,
    losses: steps.map((s) => s.loss),
  };
}

/** TRL's tokens and labels of every row beside lowrank's. */
async function rowsOf(peers, work, base, data) {
  const path = join(work, "rows.json");
  await sft(peers, work, "--rows", path);
  const theirs = await readJson(path);
  const ours = { train: data.train.map(plainRow), test: data.test.map(plainRow) };
  const token = (id) => base.tokenizer.token(id) ?? `id ${id}`;
  const compared = Object.fromEntries(
    ["train", "test"].map((split) => [split, compareRows(ours[split], theirs[split], token)]),
  );
  return { ours, theirs, compared };
}

async function scoreInPython(peers, work, adapter, rows) {
  const [asked, answered] = [join(work, "asked.json"), join(work, "scores.json")];
  await writeFile(asked, JSON.stringify(rows));
  await run(peers.python, [PEFT_SIDE, "score", peers.model, adapter, asked, answered]);
  return readJson(answered);
}

/** One model's test losses (`adapter` null: the base): by lowrank, by PyTorch on the same rows, and by PyTorch on TRL's. */
async function testLosses(peers, work, data, rows, adapter) {
  const { ours, theirs, compared } = rows;
  const others = compared.test.different.map(({ row }) => row - 1);
  const asked = [...ours.test, ...others.map((i) => theirs.test[i])];
  const answers = await scoreInPython(peers, work, adapter ?? "-", asked);
  const same = answers.slice(0, ours.test.length);
  const trl = same.map((score, i) => (others.includes(i) ? answers[same.length + others.indexOf(i)] : score));
  const own = await scoreRows(adapter, data.test);
  const largestRowDifference = Math.max(...own.map((s, i) => Math.abs(s.loss - same[i].loss) / s.labels));
  const table = [
    { by: "lowrank", tokensOf: "lowrank's", ...averages(own) },
    { by: "PyTorch", tokensOf: "lowrank's", ...averages(same) },
    { by: "PyTorch", tokensOf: "TRL's", ...averages(trl) },
  ];
  return { table, largestRowDifference, evaluated: await evaluatedLoss(adapter) };
}

async function compare(peers, work, given) {
  await mkdir(work, { recursive: true });
  const trl = await trlRun(peers, work, { result: given["trl-result"], adapter: given["trl-adapter"] });
  const lowrank = await lowrankRun(work, given["lowrank-adapter"]);
  const base = await openBase(MODEL);
  const data = await encodedData(base);
  const rows = await rowsOf(peers, work, base, data);
  const models = { before: null, "after TRL": trl.adapter, "after lowrank": lowrank.adapter };
  const losses = {};
  for (const [name, adapter] of Object.entries(models)) {
    say(`test losses, ${name}`);
    losses[name] = await testLosses(peers, work, data, rows, adapter);
  }
  const reported = { trl: [trl.lossBefore, trl.lossAfter], lowrank: [lowrank.lossBefore, lowrank.lossAfter] };
  return { reported, rows: rows.compared, losses };
}

const text = { type: "string" };
const { values } = parseArgs({
  options: { peers: text, keep: text, "trl-result": text, "trl-adapter": text, "lowrank-adapter": text },
});
if (Boolean(values["trl-result"]) !== Boolean(values["trl-adapter"]))
  throw new Error("--trl-result and --trl-adapter go together");
const peers = await findPeers(values.peers);
const machine = await describeMachine(peers);
const result = await withWorkFolder(values.keep, (work) => compare(peers, work, values));
const report = epochReport({ machine, ...result });
await writeFile(join(RESULTS, "epoch.json"), `${JSON.stringify({ machine, ...result }, null, 2)}\n`);
await writeFile(join(RESULTS, "epoch.md"), report);
process.stdout.write(report);

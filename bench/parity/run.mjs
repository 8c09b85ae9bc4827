/** The same training in lowrank and in PyTorch + PEFT: same weights, same first A, same batches, AdamW.
 *    node bench/parity/run.mjs --peers DIR [--keep FOLDER] */
import { createHash } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { batchOrder, openBase, train } from "../lib/lowrank.mjs";
import { describeMachine } from "../lib/machine.mjs";
import { DATA, encodedData, everyLogits, MODEL, plainRow } from "../lib/model.mjs";
import { findPeers, run, withWorkFolder } from "../lib/peers.mjs";
import { parityReport } from "./report.mjs";

const STEPS = 30;
const BATCH = 8;
const SEED = 0;
const PROMPTS = 20;
const SETTINGS = {
  rank: 8,
  alpha: 16,
  targetModules: ["q_proj", "v_proj"],
  learningRate: 1e-3,
  warmupSteps: 10,
};
const SIDE = fileURLToPath(new URL("./peft_side.py", import.meta.url));
const RESULTS = fileURLToPath(new URL("../results/", import.meta.url));

const readJson = async (path) => JSON.parse(await readFile(path, "utf8"));
const say = (text) => process.stderr.write(`${text}\n`);

/** Trains with lowrank. At the first of the warm-up steps the learning rate is 0, so the checkpoint of step 1 holds the
 *  first A and a B of zeros: what PEFT starts from. */
async function trainHere(work) {
  const output = join(work, "run");
  const options = { ...SETTINGS, model: MODEL, data: [DATA], batchSize: BATCH, seed: SEED, maxSteps: STEPS };
  const events = train({ ...options, output, samples: 0, checkpointEvery: 1, keepCheckpoints: STEPS });
  const steps = [];
  for await (const event of events) {
    if (event.type === "step") steps.push(event);
    if (event.type === "step") say(`lowrank, step ${event.step}: loss ${event.loss.toFixed(5)}`);
  }
  return { steps, first: join(output, "checkpoints/step-0000001"), adapter: join(output, "adapter") };
}

async function trainThere(peers, work, first, examples) {
  const order = batchOrder({ count: examples.length, batchSize: BATCH, seed: SEED, epoch: 0 }).slice(
    0,
    STEPS,
  );
  const batches = order.map((indices) => Array.from(indices, (i) => plainRow(examples[i])));
  const { learningRate, warmupSteps } = SETTINGS;
  const plan = join(work, "batches.json");
  const output = join(work, "peft");
  await mkdir(output, { recursive: true });
  await writeFile(plan, JSON.stringify({ learningRate, warmupSteps, clipNorm: 1, batches }));
  await run(peers.python, [SIDE, "train", peers.model, first, plan, output]);
  const { steps, trainable } = await readJson(join(output, "steps.json"));
  return { steps, trainable, adapter: join(output, "adapter") };
}

function sha256({ data }) {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return createHash("sha256").update(bytes).digest("hex");
}

/** The weights that lowrank opens against those of the Hugging Face folder, by sha256 of their float32 bytes. Names differ;
 *  that each is in its place shows in the losses. */
async function compareWeights(peers, work, base) {
  const path = join(work, "weights.json");
  await run(peers.python, [SIDE, "weights", peers.model, path]);
  const theirs = new Set(Object.values(await readJson(path)));
  const different = [];
  const names = base.source.weights.map((weight) => weight.path);
  for (const name of names) if (!theirs.has(sha256(await base.weights.read(name)))) different.push(name);
  return { tensors: names.length, different };
}

/** Largest difference of two vectors, and whether their largest elements are at the same place. */
function compareLogits(ours, theirs) {
  let [max, here, there] = [0, 0, 0];
  for (let i = 0; i < ours.length; i++) {
    max = Math.max(max, Math.abs(ours[i] - theirs[i]));
    if (ours[i] > ours[here]) here = i;
    if (theirs[i] > theirs[there]) there = i;
  }
  return { max, isSameTop: here === there };
}

/** Logits of an adapter in lowrank against PEFT's at every position of the prompts. */
async function compareAdapter(peers, work, { adapter, prompts, vocabSize }) {
  const [asked, file] = [join(work, "prompts.json"), join(work, "logits.f32")];
  await writeFile(asked, JSON.stringify(prompts));
  await run(peers.python, [SIDE, "logits", peers.model, adapter, asked, file]);
  const bytes = await readFile(file);
  const theirs = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
  const result = { positions: 0, maxDifference: 0, sameTop: 0 };
  await everyLogits(adapter, prompts, (_prompt, _position, logits) => {
    const from = vocabSize * result.positions++;
    const { max, isSameTop } = compareLogits(logits, theirs.subarray(from, from + vocabSize));
    result.sameTop += isSameTop ? 1 : 0;
    result.maxDifference = Math.max(result.maxDifference, max);
  });
  return result;
}

/** Test rows up to their first label: what a user asks, with the header of the answer. */
function testPrompts(examples) {
  const every = Math.floor(examples.length / PROMPTS);
  const chosen = Array.from({ length: PROMPTS }, (_, i) => examples[i * every]);
  return chosen.map(({ ids, isLabel }) => Array.from(ids.subarray(0, isLabel.indexOf(1))));
}

function compareSteps(here, there) {
  return here.map(({ step, loss, gradNorm, learningRate }, i) => ({
    step,
    learningRate: [learningRate, there[i].learningRate],
    loss: [loss, there[i].loss],
    gradNorm: [gradNorm, there[i].gradNorm],
  }));
}

async function compare(peers, work) {
  await mkdir(work, { recursive: true });
  const base = await openBase(MODEL);
  const data = await encodedData(base);
  say("weights");
  const weights = await compareWeights(peers, work, base);
  const here = await trainHere(work);
  const there = await trainThere(peers, work, here.first, data.train);
  const asked = { prompts: testPrompts(data.test), vocabSize: base.config.vocabSize };
  say("logits of the adapter trained here, in PEFT");
  const ownAdapter = await compareAdapter(peers, work, { adapter: here.adapter, ...asked });
  say("logits of the adapter trained by PEFT, here");
  const peftAdapter = await compareAdapter(peers, work, { adapter: there.adapter, ...asked });
  const steps = compareSteps(here.steps, there.steps);
  return {
    settings: { ...SETTINGS, steps: STEPS, batch: BATCH, prompts: PROMPTS },
    weights,
    steps,
    ownAdapter,
    peftAdapter,
  };
}

const { values } = parseArgs({ options: { peers: { type: "string" }, keep: { type: "string" } } });
const peers = await findPeers(values.peers);
const machine = await describeMachine(peers);
const result = await withWorkFolder(values.keep, (work) => compare(peers, work));
const { text, failures } = parityReport({ ...result, machine });
await writeFile(join(RESULTS, "parity.json"), `${JSON.stringify({ machine, ...result }, null, 2)}\n`);
await writeFile(join(RESULTS, "parity.md"), text);
process.stdout.write(text);
for (const failure of failures) say(`not within tolerance: ${failure}`);
process.exitCode = failures.length > 0 ? 1 : 0;

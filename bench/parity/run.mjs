/** The same training in lowrank and in PyTorch + PEFT: same weights, same first A, same batches, AdamW.
 *    node bench/parity/run.mjs --peers DIR [--keep FOLDER] */
import { createHash } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { batchOrder, encodeChat, hfTensorName, moduleWeights, openBase, train } from "../lib/lowrank.mjs";
import { describeMachine } from "../lib/machine.mjs";
import { DATA, encodedData, everyLogits, lastLogits, MODEL, plainRow } from "../lib/model.mjs";
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

/** Every weight of the model that lowrank opens against the Hugging Face folder, by sha256 of its float32 bytes. */
async function compareWeights(peers, work, base) {
  const path = join(work, "weights.json");
  await run(peers.python, [SIDE, "weights", peers.model, path]);
  const theirs = await readJson(path);
  const different = [];
  const names = base.modules.flatMap(moduleWeights).map((weight) => weight.path);
  for (const name of names) {
    const { data } = await base.weights.read(name);
    const own = createHash("sha256")
      .update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
      .digest("hex");
    const hf = hfTensorName(base.config.family, name);
    if (theirs[hf] !== own) different.push(hf);
  }
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

/** Logits of an adapter in lowrank against PEFT's, over every position of the prompts and after whole prompts. */
async function compareAdapter(peers, work, base, adapter, prompts) {
  const [asked, file] = [join(work, "prompts.json"), join(work, "logits.f32")];
  await writeFile(asked, JSON.stringify(prompts));
  await run(peers.python, [SIDE, "logits", peers.model, adapter, asked, file]);
  const bytes = await readFile(file);
  const all = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
  const vocab = base.config.vocabSize;
  const starts = prompts.map((_, i) => prompts.slice(0, i).reduce((n, p) => n + p.length, 0));
  const theirs = (prompt, t) => all.subarray((starts[prompt] + t) * vocab, (starts[prompt] + t + 1) * vocab);
  const result = { positions: 0, maxDifference: 0, sameTop: 0, lastMaxDifference: 0 };
  await everyLogits(base, adapter, prompts, (i, t, logits) => {
    const { max, isSameTop } = compareLogits(logits, theirs(i, t));
    result.positions++;
    result.sameTop += isSameTop ? 1 : 0;
    result.maxDifference = Math.max(result.maxDifference, max);
  });
  await lastLogits(base, adapter, prompts, (i, logits) => {
    const { max } = compareLogits(logits, theirs(i, prompts[i].length - 1));
    result.lastMaxDifference = Math.max(result.lastMaxDifference, max);
  });
  return result;
}

function testPrompts(base, rows) {
  const every = Math.floor(rows.length / PROMPTS);
  return Array.from({ length: PROMPTS }, (_, i) => {
    const messages = rows[i * every].row.messages.slice(0, -1);
    return encodeChat(base.tokenizer, base.template, messages, { addGenerationPrompt: true }).ids;
  });
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
  const prompts = testPrompts(base, data.rows.test);
  say("logits of the adapter trained here, in PEFT");
  const ownAdapter = await compareAdapter(peers, work, base, here.adapter, prompts);
  say("logits of the adapter trained by PEFT, here");
  const peftAdapter = await compareAdapter(peers, work, base, there.adapter, prompts);
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

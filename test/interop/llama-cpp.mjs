// Greedy tokens of llama.cpp and of lowrank on the GGUF files that lowrank writes. See README.md.
import { mkdtemp, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { writeModelGguf } from "../../dist/formats/gguf-save.js";
import { promptIds, rawIds } from "../../dist/generate/prompt.js";
import { convertAdapter, loadModel, mergeAdapter } from "../../dist/index.js";
import { openSource } from "../../dist/models/base-model.js";

const { values: options } = parseArgs({
  options: {
    peer: { type: "string" },
    model: { type: "string", default: "smollm2-135m" },
    adapter: { type: "string" },
    tokens: { type: "string", default: "32" },
    types: { type: "string", default: "F32,F16" },
    variants: { type: "string", default: "base,lora,merged" },
  },
});
if (!options.peer || !options.adapter)
  throw new Error("--peer FOLDER and --adapter FOLDER are needed (README.md)");
const TOKENS = Number(options.tokens);

/** Five to answer, five to continue. */
const QUESTIONS = [
  "tar: list the files in an archive",
  "find: files larger than 100 MB in the home folder",
  "git: undo the last commit but keep the changes",
  "What is the capital of France?",
  "Write a haiku about the sea, naïvely 😀.",
];
const TEXTS = [
  "The three primary colours are",
  "def fibonacci(n):\n    ",
  "In 1969, the first",
  "<|im_start|>is not special here: 12345 67",
  "Once upon a time there was a",
];

async function openPeer(folder) {
  const entry = createRequire(join(resolve(folder), "x.js")).resolve("node-llama-cpp");
  const peer = await import(pathToFileURL(entry).href);
  const llama = await peer.getLlama({ gpu: false, build: "never", logLevel: peer.LlamaLogLevel.warn });
  return { peer, llama };
}

/** llama.cpp's own token ids of the prompts, and its greedy continuation of ours. */
async function theirs({ llama }, modelPath, lora, prompts, endIds) {
  const model = await llama.loadModel({ modelPath, gpuLayers: 0 });
  const context = await model.createContext({
    contextSize: 512,
    threads: 2,
    flashAttention: false,
    experimentalKvCacheKeyType: "F32", // half precision, the default, alone would change close choices
    experimentalKvCacheValueType: "F32",
    ...(lora ? { lora } : {}),
  });
  const sequence = context.getSequence();
  const answers = [];
  for (const { ids, text, special } of prompts) {
    await sequence.clearHistory();
    const got = [];
    for await (const token of sequence.evaluate(ids, { temperature: 0, yieldEogToken: true })) {
      if (endIds.includes(token) || got.length === TOKENS) break;
      got.push(token);
    }
    answers.push({ ids: got, prompt: model.tokenize(text, special) });
  }
  const { bos } = model.tokens;
  await context.dispose();
  await model.dispose();
  return { answers, bos };
}

async function ours(model, adapter, cacheFolder, prompts) {
  const loaded = await loadModel({
    model,
    offline: true,
    contextLength: 512,
    cacheFolder,
    ...(adapter ? { adapter } : {}),
  });
  try {
    const list = prompts ?? promptsOf(loaded.base);
    const answers = [];
    for (const { request } of list)
      answers.push((await loaded.generateText({ ...request, maxTokens: TOKENS })).ids);
    return { answers, prompts: list, endIds: loaded.base.eosIds };
  } finally {
    await loaded.close();
  }
}

function promptsOf(base) {
  const chat = QUESTIONS.map((content) => {
    const messages = [{ role: "user", content }];
    const text = base.template.render(messages, { addGenerationPrompt: true });
    return { request: { messages }, ids: promptIds(base, messages), text, special: true };
  });
  const raw = TEXTS.map((prompt) => ({
    request: { prompt, raw: true },
    ids: rawIds(base, prompt),
    text: prompt,
    special: false,
  }));
  return [...chat, ...raw];
}

/** How many of the answers agree, and where the first ones part. */
function compare(mine, others, prompts) {
  const firstDifference = (a, b) => {
    const at = a.findIndex((id, i) => id !== b[i]);
    return at >= 0 ? at : a.length === b.length ? -1 : Math.min(a.length, b.length);
  };
  const parts = mine.map((ids, i) => firstDifference(ids, others[i].ids));
  const samePrompts = prompts.filter((p, i) => String(p.ids) === String(others[i].prompt)).length;
  return {
    prompts: `${samePrompts}/${prompts.length}`,
    answers: `${parts.filter((at) => at < 0).length}/${parts.length}`,
    tokens: mine.reduce((n, ids) => n + ids.length, 0),
    "first differences":
      parts.flatMap((at, i) => (at < 0 ? [] : [`prompt ${i} at ${at}`])).join(", ") || "none",
  };
}

async function writeBase(model, path, type) {
  const source = await openSource(model, { offline: true });
  try {
    await writeModelGguf(path, source, { type });
  } finally {
    await source.close();
  }
}

const DTYPES = { F32: "float32", F16: "float16", Q8_0: "q8_0", Q4_0: "q4_0" };
const folder = await mkdtemp(join(tmpdir(), "lowrank-interop-"));
const peer = await openPeer(options.peer);
const rows = [];
try {
  const { model, adapter } = options;
  const lora = join(folder, "adapter.gguf");
  await convertAdapter({ model, adapter, to: "gguf", output: lora, offline: true });
  const check = async (what, file, loraFile) => {
    const cacheFolder = await mkdtemp(join(folder, "cache-"));
    const mine = await ours(file, loraFile, cacheFolder);
    await rm(cacheFolder, { recursive: true });
    const others = await theirs(peer, file, loraFile, mine.prompts, mine.endIds);
    rows.push({ what, ...compare(mine.answers, others.answers, mine.prompts) });
    return mine;
  };
  const same = (mine, original) => {
    const count = mine.answers.filter((ids, i) => String(ids) === String(original.answers[i])).length;
    rows.at(-1)["as from the originals"] = `${count}/${mine.answers.length}`;
    console.table(rows.slice(-1));
  };
  const variants = new Set(options.variants.split(","));
  const plain = await ours(model, null, undefined);
  const adapted = await ours(model, adapter, undefined);
  const changed = plain.answers.filter((ids, i) => String(ids) !== String(adapted.answers[i])).length;
  console.log(`the adapter changes ${changed} of ${plain.answers.length} answers`);
  for (const type of options.types.split(",")) {
    const [base, merged] = [join(folder, `base-${type}.gguf`), join(folder, `merged-${type}.gguf`)];
    if (variants.has("base") || variants.has("lora")) await writeBase(model, base, type);
    if (variants.has("base")) same(await check(`base ${type}`, base), plain);
    if (variants.has("lora")) same(await check(`base ${type} + LoRA`, base, lora), adapted);
    await rm(base, { force: true });
    if (!variants.has("merged")) continue;
    const format = { format: "gguf", dtype: DTYPES[type], output: merged, offline: true };
    const { maxLogitDifference } = await mergeAdapter({ model, adapter, ...format });
    same(await check(`merged ${type}`, merged), adapted);
    console.log(
      `merged ${type}: logits differ by ${maxLogitDifference} from those of base and adapter apart`,
    );
    await rm(merged);
  }
  console.table(rows);
} finally {
  await rm(folder, { recursive: true, force: true });
  await peer.llama.dispose();
}

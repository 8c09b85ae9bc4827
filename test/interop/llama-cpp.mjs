// Greedy tokens of llama.cpp and of lowrank on the GGUF files that lowrank writes. See README.md.
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { describeMachine, machineLine } from "../../bench/lib/machine.mjs";
import { writeModelGguf } from "../../dist/formats/gguf/save.js";
import { convertAdapter, loadModel, mergeAdapter } from "../../dist/index.js";
import { openSource } from "../../dist/models/base-model.js";
import { encodePrompt } from "../../dist/text/chat-encode.js";
import { encodeRaw } from "../../dist/text/raw.js";

const { values: options } = parseArgs({
  options: {
    peer: { type: "string" },
    model: { type: "string", default: "smollm2-135m" },
    adapter: { type: "string" },
    tokens: { type: "string", default: "24" },
    threads: { type: "string", default: "2" },
    types: { type: "string", default: "F32,F16,Q8_0,Q4_0" },
    variants: { type: "string", default: "base,lora,merged,dequantized" },
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
    threads: Number(options.threads),
    flashAttention: false,
    experimentalKvCacheKeyType: "F32", // half precision, the default, alone would change close choices
    experimentalKvCacheValueType: "F32",
    ...(lora ? { lora } : {}),
  });
  const sequence = context.getSequence();
  const answers = [];
  for (const { ids, text } of prompts) {
    await sequence.clearHistory();
    const got = [];
    for await (const token of sequence.evaluate(ids, { temperature: 0, yieldEogToken: true })) {
      if (endIds.includes(token) || got.length === TOKENS) break;
      got.push(token);
    }
    const { bos } = model.tokens; // which its tokenizer leaves to the caller
    answers.push({ ids: got, prompt: [...(ids[0] === bos ? [bos] : []), ...model.tokenize(text, true)] });
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

/** Conversations by the model's template, if it has one, and plain texts. */
function promptsOf(base) {
  const chat = (base.template ? QUESTIONS : []).map((content) => {
    const messages = [{ role: "user", content }];
    const text = base.template.render(messages, { addGenerationPrompt: true });
    return { request: { messages }, ids: encodePrompt(base, messages).ids, text };
  });
  const raw = [...(base.template ? [] : QUESTIONS), ...TEXTS].map((prompt) => ({
    request: { prompt, raw: true },
    ids: encodeRaw(base.tokenizer, prompt),
    text: prompt,
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
const QUANTIZED = ["Q8_0", "Q4_0"];

/** One file in both programs; `original`: answers of model and adapter as they were before they were written as GGUF. */
async function checkFile(peer, folder, rows, what, { file, lora, mine, original, mustAgree = false }) {
  const cacheFolder = await mkdtemp(join(folder, "cache-"));
  const own = mine ?? (await ours(file, lora, cacheFolder));
  await rm(cacheFolder, { recursive: true });
  const others = await theirs(peer, file, lora, own.prompts, own.endIds);
  const count = own.answers.filter((ids, i) => String(ids) === String(original.answers[i])).length;
  const compared = compare(own.answers, others.answers, own.prompts);
  rows.push({ what, ...compared, "as from the originals": `${count}/${own.answers.length}`, mustAgree });
  console.table(rows.slice(-1));
  return own;
}

/** A quantized merged model in both programs; then its weights as float32 in llama.cpp, against what lowrank said. */
async function checkMerged(peer, folder, rows, type, adapted, variants) {
  const merged = join(folder, `merged-${type}.gguf`);
  const { model, adapter } = options;
  const how = { format: "gguf", dtype: DTYPES[type], output: merged, offline: true };
  const { maxLogitDifference } = await mergeAdapter({ model, adapter, ...how });
  const mustAgree = !QUANTIZED.includes(type);
  const mine = await checkFile(peer, folder, rows, `merged ${type}`, {
    file: merged,
    original: adapted,
    mustAgree,
  });
  rows.at(-1).maxLogitDifference = maxLogitDifference;
  if (QUANTIZED.includes(type) && variants.has("dequantized")) {
    const floats = join(folder, `dequantized-${type}.gguf`);
    await writeBase(merged, floats, "F32");
    const what = `merged ${type}, its weights as F32 in llama.cpp`;
    await checkFile(peer, folder, rows, what, { file: floats, mine, original: adapted, mustAgree: true });
    await rm(floats);
  }
  await rm(merged);
}

async function checkAll(peer, folder, rows) {
  const { model, adapter } = options;
  const lora = join(folder, "adapter.gguf");
  await convertAdapter({ model, adapter, to: "gguf", output: lora, offline: true });
  const variants = new Set(options.variants.split(","));
  const plain = await ours(model, null, undefined);
  const adapted = await ours(model, adapter, undefined);
  const changed = plain.answers.filter((ids, i) => String(ids) !== String(adapted.answers[i])).length;
  console.log(`the adapter changes ${changed} of ${plain.answers.length} answers`);
  for (const type of options.types.split(",")) {
    const base = join(folder, `base-${type}.gguf`);
    if (!QUANTIZED.includes(type)) await writeBase(model, base, type);
    const parts = { base: { original: plain }, lora: { original: adapted, lora } };
    for (const [name, part] of Object.entries(parts))
      if (!QUANTIZED.includes(type) && variants.has(name)) {
        const what = name === "lora" ? `base ${type} + LoRA` : `base ${type}`;
        await checkFile(peer, folder, rows, what, { file: base, mustAgree: true, ...part });
        await save(peer, rows, changed);
      }
    await rm(base, { force: true });
    if (!variants.has("merged")) continue;
    await checkMerged(peer, folder, rows, type, adapted, variants);
    await save(peer, rows, changed);
  }
}

function report({ machine, rows, changed }) {
  const lines = rows.map((r) => {
    const logits = r.maxLogitDifference === undefined ? "" : r.maxLogitDifference.toPrecision(2);
    const cells = [
      r.what,
      r.prompts,
      r.answers,
      r.tokens,
      r["first differences"],
      r["as from the originals"],
      logits,
    ];
    return `| ${cells.join(" | ")} |`;
  });
  return `# GGUF files of lowrank in llama.cpp

${options.model} and a LoRA adapter trained on shell-recipes, which changes ${changed} of the ten answers. Ten prompts (five chats,
five texts), greedy answers of up to ${TOKENS} tokens; both programs compute on the CPU, llama.cpp with keys and values in F32.
Prompts: those that both tokenize alike. Answers: those whose tokens are all equal in both. Originals: lowrank's answers of base and
adapter before they became GGUF. Logits: largest difference from base and adapter apart, as merging found it.

    npm run build && node test/interop/llama-cpp.mjs --peer FOLDER --model MODEL --adapter RUN

${machineLine(machine)}

| file | prompts | answers | tokens | first differences | as from the originals | logits |
|-|-|-|-|-|-|-|
${lines.join("\n")}

llama.cpp multiplies quantized weights by activations that it quantizes too (Q8_0, blocks of 32), lowrank by float32 activations:
with the same quantized weights written as F32 the two agree.
`;
}

/** The default model's results have the plain name. */
const suffix = options.model === "smollm2-135m" ? "" : `-${options.model.replace(/[^\w.-]+/g, "-")}`;
const RESULTS = fileURLToPath(new URL(`../../bench/results/interchange-llama-cpp${suffix}`, import.meta.url));

/** Writes the table after every row; rows of an earlier run with as many tokens stay, where this one has none of the name. */
async function save(peer, rows, changed) {
  const own = JSON.parse(
    await readFile(join(options.peer, "node_modules/node-llama-cpp/package.json"), "utf8"),
  );
  const others = { "node-llama-cpp": own.version, "llama.cpp": peer.llama.llamaCppRelease.release };
  const machine = await describeMachine(null, others);
  const before = JSON.parse(await readFile(`${RESULTS}.json`, "utf8").catch(() => "{}"));
  const kept =
    before.tokens === TOKENS ? before.rows.filter((row) => !rows.some((r) => r.what === row.what)) : [];
  const order = (row) =>
    ["base F32", "base F16", "merged F32", "merged F16", "merged Q8_0", "merged Q4_0"].findIndex((start) =>
      row.what.startsWith(start),
    );
  const table = [...kept, ...rows].sort((a, b) => order(a) - order(b));
  await writeFile(
    `${RESULTS}.json`,
    `${JSON.stringify({ machine, tokens: TOKENS, changed, rows: table }, null, 2)}\n`,
  );
  await writeFile(`${RESULTS}.md`, report({ machine, rows: table, changed }));
}

const all = (text) => text.split("/")[0] === text.split("/")[1];
const folder = await mkdtemp(join(tmpdir(), "lowrank-interop-"));
const peer = await openPeer(options.peer);
const rows = [];
try {
  await checkAll(peer, folder, rows);
  console.table(rows);
  for (const { what } of rows.filter((r) => r.mustAgree && !(all(r.answers) && all(r.prompts)))) {
    console.error(`${what}: the answers differ`);
    process.exitCode = 1;
  }
} finally {
  await rm(folder, { recursive: true, force: true });
  await peer.llama.dispose();
}

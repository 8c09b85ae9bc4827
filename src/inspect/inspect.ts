import { readdir, stat } from "node:fs/promises";
import { basename, extname, join } from "node:path";
import { NotFoundError, UnsupportedError } from "../errors.ts";
import type { GgufValue } from "../formats/gguf/file.ts";
import { openGguf } from "../formats/gguf/open.ts";
import { openSafetensors } from "../formats/safetensors/read.ts";
import { resolveModel } from "../hub/resolve.ts";
import { readBytes } from "../io/disk.ts";
import { readFolder } from "../io/folder.ts";
import { parseJsonObject } from "../io/json.ts";
import { sizeOf } from "../tensor/tensor.ts";
import { CONFIG_FILE } from "../train/config/file.ts";
import { METRICS_FILE, type MetricsEvent, readMetrics } from "../train/metrics-log.ts";
import { resourceRows } from "../train/resources.ts";
import { readSummary } from "../train/summary.ts";

/** A tensor in a file. */
export interface InspectedTensor {
  readonly name: string;
  readonly shape: readonly number[];
  /** Storage type as the file names it. */
  readonly storage: string;
  readonly sizeBytes: number;
}

/** What something on disk is. */
export interface Inspection {
  readonly path: string;
  readonly kind: "model" | "adapter" | "run" | "tensors";
  /** "Hugging Face folder", "GGUF", "PEFT adapter", … */
  readonly format: string;
  /** Label and value, most telling first. */
  readonly facts: readonly (readonly [string, string])[];
  readonly tensors: readonly InspectedTensor[];
}

/** Tensors of one kind: same name but for the layer's number, same shape and storage. */
export interface TensorGroup {
  /** The name with "*" for the layer's number. */
  readonly pattern: string;
  readonly count: number;
  readonly shape: readonly number[];
  readonly storage: string;
  readonly parameters: number;
  readonly sizeBytes: number;
}

type Json = Readonly<Record<string, unknown>>;
type Fact = readonly [string, string];

/** Says what a model folder, .gguf or .safetensors file, adapter or run folder is; also a model by alias or Hub id that
 *  is in the cache. Only headers are read, nothing is fetched.
 *  @throws NotFoundError, FormatError, UnsupportedError if it is none of these */
export async function inspect(path: string): Promise<Inspection> {
  const status = await stat(path).catch(() => null);
  if (status === null) return inspectNamed(path);
  if (status.isDirectory()) return inspectFolder(path);
  if (extname(path) === ".gguf") return inspectGguf(path);
  if (extname(path) === ".safetensors") return { ...(await tensorFile(path)), kind: "tensors" };
  throw new UnsupportedError(`${path}: not a folder, .gguf or .safetensors file`);
}

async function inspectNamed(name: string): Promise<Inspection> {
  const isPathLike = /^[./~\\]/.test(name) || /\.(gguf|safetensors)$/.test(name);
  if (isPathLike) throw new NotFoundError(`${name}: there is no such file or folder`);
  return inspect(await resolveModel(name, { offline: true }));
}

/** Tensors by kind, in the order in which they first occur. */
export function groupTensors(tensors: readonly InspectedTensor[]): readonly TensorGroup[] {
  const groups = new Map<string, TensorGroup>();
  for (const { name, shape, storage, sizeBytes } of tensors) {
    const pattern = name.replace(/(?<=^|\.)\d+(?=\.)/g, "*");
    const key = `${pattern} ${shape} ${storage}`;
    const before = groups.get(key) ?? { pattern, count: 0, shape, storage, parameters: 0, sizeBytes: 0 };
    groups.set(key, {
      ...before,
      count: before.count + 1,
      parameters: before.parameters + sizeOf(shape),
      sizeBytes: before.sizeBytes + sizeBytes,
    });
  }
  return [...groups.values()];
}

async function inspectFolder(path: string): Promise<Inspection> {
  const names = await readFolder(path);
  if (names.includes(CONFIG_FILE)) return inspectRun(path, names);
  if (names.includes("adapter_config.json")) return inspectAdapter(path, names);
  if (names.includes("config.json")) return inspectModel(path, names);
  const known = `${CONFIG_FILE} (a run), adapter_config.json (an adapter) or config.json (a model)`;
  throw new UnsupportedError(`${path}: neither model, adapter nor run: it holds no ${known}`);
}

async function inspectModel(path: string, names: readonly string[]): Promise<Inspection> {
  const config = await readJson(join(path, "config.json"));
  const pick = (label: string, ...keys: readonly string[]): Fact[] => fact(label, firstOf(config, keys));
  const facts = [
    ...pick("Architecture", "architectures", "model_type"),
    ...pick("Layers", "num_hidden_layers", "n_layer"),
    ...pick("Hidden size", "hidden_size", "n_embd"),
    ...pick("Heads", "num_attention_heads", "n_head"),
    ...pick("Key-value heads", "num_key_value_heads"),
    ...pick("MLP size", "intermediate_size", "n_inner"),
    ...pick("Vocabulary", "vocab_size"),
    ...pick("Context", "max_position_embeddings", "n_positions"),
    ...pick("Tied embeddings", "tie_word_embeddings"),
  ];
  return {
    path,
    kind: "model",
    format: "Hugging Face folder",
    facts,
    tensors: await folderTensors(path, modelFiles(names)),
  };
}

/** The files that are the model's: others beside them (`consolidated.safetensors`) hold the same weights again. */
function modelFiles(names: readonly string[]): readonly string[] {
  const single = names.filter((name) => name === "model.safetensors");
  const shards = names.filter((name) => /^model-\d+-of-\d+\.safetensors$/.test(name));
  return [single, shards].find((files) => files.length > 0) ?? names;
}

/** A checkpoint's folder holds the optimizer's state beside them. */
const ADAPTER_WEIGHTS = /^adapter(_model|s)\.safetensors$/;

async function inspectAdapter(path: string, names: readonly string[]): Promise<Inspection> {
  const config = await readJson(join(path, "adapter_config.json"));
  const isMlx = config.peft_type === undefined && config.lora_parameters !== undefined;
  const lora = (isMlx ? config.lora_parameters : config) as Json;
  const facts = [
    ...fact("Method", firstOf(config, ["peft_type", "lowrank_method", "fine_tune_type", "lowrank_methods"])),
    ...fact("Base model", config.base_model_name_or_path ?? config.model),
    ...fact("Rank", firstOf(lora, ["r", "rank"])),
    ...fact("Alpha", firstOf(lora, ["lora_alpha", "alpha"])),
    ...fact("Scale", lora.scale),
    ...fact("rsLoRA", lora.use_rslora === true ? "yes" : undefined),
    ...fact("Dropout", firstOf(lora, ["lora_dropout", "dropout"])),
    ...fact("Bias", config.bias === "none" ? undefined : config.bias),
    ...fact("Targets", firstOf(lora, ["target_modules", "keys"])),
    ...fact("Saved modules", config.modules_to_save),
    ...fact("Bottleneck", config.bottleneck),
    ...fact("Layers", firstOf(config, ["layers_to_transform", "num_layers", "layers"])),
  ];
  const format = isMlx
    ? "mlx-lm adapter"
    : config.peft_type === undefined
      ? "lowrank adapter"
      : "PEFT adapter";
  const own = await folderTensors(path, names, ADAPTER_WEIGHTS);
  const parts = Array.isArray(config.lowrank_methods) ? config.lowrank_methods.map(String) : [];

  return { path, kind: "adapter", format, facts, tensors: [...own, ...(await partTensors(path, parts))] };
}

/** Tensors of a combination, each under the name of its part. */
async function partTensors(path: string, parts: readonly string[]): Promise<InspectedTensor[]> {
  const inside = parts.filter((part) => /^[\w-]+$/.test(part));
  const read = async (part: string): Promise<InspectedTensor[]> => {
    const { tensors } = await inspectFolder(join(path, part));
    return tensors.map((t) => ({ ...t, name: `${part}/${t.name}` }));
  };
  return (await Promise.all(inside.map(read))).flat();
}

async function inspectRun(path: string, names: readonly string[]): Promise<Inspection> {
  const config = await readJson(join(path, CONFIG_FILE));
  const adapterPath = join(path, "adapter");
  const adapter = names.includes("adapter")
    ? await inspectAdapter(adapterPath, await readFolder(adapterPath))
    : null;
  const checkpoints = await readdir(join(path, "checkpoints")).catch(() => []);
  const facts = [
    ...RUN_OPTIONS.flatMap((key) => fact(key, config[key])),
    ...(names.includes(METRICS_FILE) ? metricsFacts(await readMetrics(path)) : []),
    ...(await costFacts(path)),
    ...fact("checkpoints", checkpoints.length > 0 ? checkpoints.sort() : undefined),
    ...fact("adapter", adapter ? adapter.path : "not written yet"),
  ];
  return { path, kind: "run", format: "run folder", facts, tensors: adapter?.tensors ?? [] };
}

const RUN_OPTIONS = [
  "model",
  "data",
  "method",
  "rank",
  "alpha",
  "targetModules",
  "learningRate",
  "batchSize",
  "seed",
];

/** What a finished run was to cost, and what it did (LoRA §4.2). */
async function costFacts(path: string): Promise<Fact[]> {
  const summary = await readSummary(path);
  if (summary === null) return [];
  const { plan, done } = summary;
  return resourceRows(plan.resources, done.measured).flatMap(({ what, plannedBytes, measuredBytes }) => {
    const measured = measuredBytes === null ? "" : `, measured ${mebibytes(measuredBytes)}`;
    return fact(what.toLowerCase(), `${mebibytes(plannedBytes)}${measured}`);
  });
}

function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toLocaleString("en-US", { maximumSignificantDigits: 4 })} MiB`;
}

function metricsFacts(metrics: readonly MetricsEvent[]): Fact[] {
  const steps = metrics.filter((event) => event.type === "step");
  const last = steps.at(-1);
  return [
    ...fact("steps", last ? `${last.step} of ${last.steps}` : "none yet"),
    ...fact("training loss", last?.loss.toFixed(4)),
    ...metrics
      .filter((event) => event.type === "evaluation")
      .flatMap((event) => fact(`${event.split} loss, step ${event.step}`, event.loss.toFixed(4))),
  ];
}

async function inspectGguf(path: string): Promise<Inspection> {
  const file = await openGguf(path);
  try {
    const architecture = String(file.values.get("general.architecture") ?? "unknown");
    const key = (name: string): GgufValue | undefined => file.values.get(`${architecture}.${name}`);
    const isAdapter = file.values.get("general.type") === "adapter";
    const tokens = file.values.get("tokenizer.ggml.tokens");
    const facts = [
      ...fact("Name", file.values.get("general.name")),
      ...fact("Architecture", architecture),
      ...fact("Licence", file.values.get("general.license")),
      ...fact("Layers", key("block_count")),
      ...fact("Hidden size", key("embedding_length")),
      ...fact("Heads", key("attention.head_count")),
      ...fact("Key-value heads", key("attention.head_count_kv")),
      ...fact("MLP size", key("feed_forward_length")),
      ...fact("Vocabulary", Array.isArray(tokens) ? tokens.length : key("vocab_size")),
      ...fact("Context", key("context_length")),
      ...fact("Tokenizer", file.values.get("tokenizer.ggml.model")),
      ...fact("Alpha", file.values.get("adapter.lora.alpha")),
    ];
    const tensors = [...file.entries.values()].map(({ type, ...entry }) =>
      tensorOf({ ...entry, dtype: type }),
    );
    const format = `${isAdapter ? "GGUF adapter" : "GGUF"}, version ${file.version}`;
    return { path, kind: isAdapter ? "adapter" : "model", format, facts, tensors };
  } finally {
    await file.close();
  }
}

async function tensorFile(path: string): Promise<Omit<Inspection, "kind">> {
  const file = await openSafetensors(path);
  try {
    const facts = Object.entries(file.metadata).flatMap(([key, value]) => fact(key, value));
    return { path, format: "safetensors", facts, tensors: [...file.entries.values()].map(tensorOf) };
  } finally {
    await file.close();
  }
}

function tensorOf(entry: {
  name: string;
  shape: readonly number[];
  dtype: string;
  sizeBytes: number;
}): InspectedTensor {
  const { name, shape, dtype, sizeBytes } = entry;
  return { name, shape, storage: dtype, sizeBytes };
}

async function folderTensors(
  path: string,
  names: readonly string[],
  accepts: RegExp = /\.safetensors$/,
): Promise<InspectedTensor[]> {
  const files = names.filter((name) => accepts.test(name)).sort();
  const opened = await Promise.all(files.map((name) => tensorFile(join(path, basename(name)))));
  return opened.flatMap((file) => file.tensors);
}

async function readJson(path: string): Promise<Json> {
  return parseJsonObject(await readBytes(path), path);
}

function firstOf(json: Json, keys: readonly string[]): unknown {
  return keys.map((key) => json[key]).find((value) => value !== undefined && value !== null);
}

/** A line, or none where nothing is known. */
function fact(label: string, value: unknown): Fact[] {
  if (value === undefined || value === null) return [];
  if (Array.isArray(value)) return [[label, value.map(String).join(", ")]];
  return [[label, typeof value === "object" ? JSON.stringify(value) : String(value)]];
}

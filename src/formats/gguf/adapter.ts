import { InputError, type Problem, UnsupportedError } from "../../errors.ts";
import { requireFinite } from "../../tensor/finite.ts";
import type { FloatTensor } from "../../tensor/tensor.ts";
import { transposed } from "../../tensor/transpose.ts";
import { ggufOf } from "../architectures/table.ts";
import type { LoraFactors } from "../lora-factors.ts";
import { requireUntied, scaledB } from "../lora-folding.ts";
import type { ModelConfig } from "../model.ts";
import { ggufTensorName, pathOfGgufTensor } from "../names.ts";
import type { GgufFile } from "./file.ts";
import { openGguf } from "./open.ts";
import { permutedHeads, rowsFromGguf, rowsToGguf } from "./permute.ts";
import { f32, type GgufTyped, text, u32 } from "./values.ts";
import { type GgufInput, writeGguf } from "./write.ts";

/** A GGUF LoRA adapter, read. */
export interface GgufAdapter {
  readonly factors: readonly LoraFactors[];
  /** Hub id or name of the model that it was trained on, where the file says. */
  readonly baseModel: string | null;
}

const HUB = "https://huggingface.co/";

/** Path of the embedding; llama.cpp looks its A up by token, so that it is stored the other way round. */
const EMBEDDING = "embed";

/** Base model that a GGUF adapter names: its Hub id, or its name. */
export function baseModelOfGguf(gguf: GgufFile): string | null {
  const value = (key: string): string | null => {
    const found = gguf.values.get(`general.base_model.0.${key}`);
    return typeof found === "string" ? found : null;
  };
  const url = value("repo_url");
  return url?.startsWith(HUB) ? url.slice(HUB.length) : value("name");
}

/** A module's B with its rows in the other order where llama.cpp reorders those of its weight. */
function reordered(b: FloatTensor, path: string, model: ModelConfig, order: typeof rowsToGguf): FloatTensor {
  const heads = ggufOf(model.family).permuted ? permutedHeads(model, path) : null;
  if (heads === null) return b;
  const bytes = new Uint8Array(b.data.buffer, b.data.byteOffset, b.data.byteLength);
  const data = new Float32Array(order(bytes, b.shape[0] as number, heads).buffer as ArrayBuffer);
  return { ...b, data };
}

function checkKeys(gguf: GgufFile, model: ModelConfig): void {
  const expected = {
    "general.type": "adapter",
    "adapter.type": "lora",
    "general.architecture": ggufOf(model.family).name,
  };
  const problems = Object.entries(expected).flatMap(([key, value]) => {
    const got = gguf.values.get(key);
    return got === value ? [] : [{ where: key, message: `expected "${value}", got ${shown(got)}` }];
  });
  const alpha = gguf.values.get("adapter.lora.alpha");
  if (typeof alpha !== "number" || !Number.isFinite(alpha))
    problems.push({ where: "adapter.lora.alpha", message: `expected a number, got ${shown(alpha)}` });
  if (problems.length > 0)
    throw new InputError(`${gguf.path} is not a LoRA adapter for a ${model.family} model`, problems);
}

function shown(value: unknown): string {
  return value === undefined ? "nothing" : typeof value === "string" ? `"${value}"` : String(value);
}

async function readTensors(gguf: GgufFile): Promise<Map<string, FloatTensor>> {
  const tensors = new Map<string, FloatTensor>();
  for (const name of gguf.entries.keys())
    tensors.set(name, requireFinite(gguf.path, name, await gguf.read(name)));
  return tensors;
}

function factorsOf(
  gguf: GgufFile,
  tensors: ReadonlyMap<string, FloatTensor>,
  model: ModelConfig,
): LoraFactors[] {
  const alpha = gguf.values.get("adapter.lora.alpha") as number;
  const problems: Problem[] = [];
  const factors: LoraFactors[] = [];
  for (const [key, tensor] of tensors) {
    const [, weight, side] = /^(.+\.weight)\.lora_([ab])$/.exec(key) ?? [];
    const path =
      weight === undefined
        ? null
        : (pathOfGgufTensor(model.family, weight)?.replace(/\.weight$/, "") ?? null);
    const other = tensors.get(`${weight}.lora_${side === "a" ? "b" : "a"}`);
    const problem = (message: string): unknown => problems.push({ where: key, message });
    if (path === null) problem(`is not a LoRA factor of a ${model.family} model`);
    else if (!other) problem(`has no lora_${side === "a" ? "b" : "a"} beside it`);
    else if (side === "a") {
      const made = factorsOfPair(path, tensor, other, alpha, model);
      if (typeof made === "string") problem(made);
      else factors.push(made);
    }
  }
  if (tensors.size === 0) problems.push({ where: "tensors", message: "there are none" });
  if (problems.length > 0) throw new InputError(`${gguf.path}: the adapter does not fit the model`, problems);
  return factors;
}

/** A module's factors, or what is wrong with them. The scaling is alpha/rank; alpha 0 stands for a scaling of 1
 *  (llama-adapter.h, get_scale). */
function factorsOfPair(
  path: string,
  storedA: FloatTensor,
  b: FloatTensor,
  alpha: number,
  model: ModelConfig,
): LoraFactors | string {
  if (storedA.shape.length !== 2 || b.shape.length !== 2)
    return `expected two matrices, got [${storedA.shape}] and [${b.shape}]`;
  const isEmbedding = path === EMBEDDING;
  const a = isEmbedding ? transposed(storedA) : storedA;
  const [rank, rows] = [b.shape[1] as number, b.shape[0] as number];
  if (a.shape[0] !== rank) return `has rank ${a.shape[0]}, its lora_b has ${rank}`;
  const heads = permutedHeads(model, path);
  if (heads !== null && rows % (2 * heads) !== 0)
    return `its lora_b has ${rows} rows, which ${heads} heads do not divide into halves`;
  return {
    path,
    kind: isEmbedding || path === "positions" ? "embedding" : "linear",
    a,
    b: reordered(b, path, model, rowsFromGguf),
    scaling: alpha === 0 ? 1 : alpha / rank,
  };
}

/** Reads a LoRA adapter in llama.cpp's format for a model; Q and K of the llama family come in transformers' order.
 *  @throws NotFoundError, FormatError; UnsupportedError for types that cannot be read; InputError if it is for another
 *  architecture, or listing every tensor that fits nowhere in the model. */
export async function readGgufAdapter(path: string, model: ModelConfig): Promise<GgufAdapter> {
  const gguf = await openGguf(path);
  try {
    checkKeys(gguf, model);
    const factors = factorsOf(gguf, await readTensors(gguf), model);
    return { factors, baseModel: baseModelOfGguf(gguf) };
  } finally {
    await gguf.close();
  }
}

function baseKeys(baseModel: string | null): [string, GgufTyped][] {
  if (baseModel === null) return [];
  const [, organization, name] = /^([\w.-]+)\/([\w.-]+)$/.exec(baseModel) ?? [];
  const prefix = "general.base_model.0.";
  return [
    ["general.base_model.count", u32(1)],
    [`${prefix}name`, text(name ?? baseModel.replace(/^.*[\\/]/, ""))],
    ...(organization === undefined || name === undefined
      ? []
      : ([
          [`${prefix}organization`, text(organization)],
          [`${prefix}repo_url`, text(`${HUB}${baseModel}`)],
        ] as [string, GgufTyped][])),
  ];
}

function pairInputs(factors: LoraFactors, alpha: number, model: ModelConfig): GgufInput[] {
  const { path, kind, b, scaling } = factors;
  if (kind === "embedding" && path !== EMBEDDING)
    throw new UnsupportedError(`LoRA on "${path}" cannot be written for llama.cpp, which has none there`);
  const name = ggufTensorName(model.family, `${path}.weight`);
  const a = path === EMBEDDING ? transposed(factors.a) : factors.a;
  const folded = scaledB(reordered(b, path, model, rowsToGguf), (scaling * (b.shape[1] as number)) / alpha);
  return [
    { name: `${name}.lora_a`, type: "F32", ...a },
    { name: `${name}.lora_b`, type: "F32", ...folded },
  ];
}

/** Writes a LoRA adapter as llama.cpp and Ollama load it (GGUF, F32). Its scaling is alpha/rank with one alpha for all: a
 *  module whose scaling is another (rsLoRA, alpha and rank patterns) has the difference folded into its B.
 *  @throws UnsupportedError for factors that llama.cpp has no place for; LowrankError ("storage") if the disk fails. */
export async function writeGgufAdapter(
  path: string,
  factors: readonly LoraFactors[],
  model: ModelConfig,
  baseModel: string | null,
): Promise<void> {
  requireUntied(factors, model, "llama.cpp");
  const first = factors.find((f) => f.scaling !== 0);
  // As the file holds it. Zero would mean a scaling of 1.
  const alpha = first ? Math.fround(first.scaling * (first.b.shape[1] as number)) : 1;
  const keys = new Map<string, GgufTyped>([
    ["general.architecture", text(ggufOf(model.family).name)],
    ["general.type", text("adapter")],
    ["general.file_type", u32(0)],
    ...baseKeys(baseModel),
    ["adapter.type", text("lora")],
    ["adapter.lora.alpha", f32(alpha)],
  ]);
  await writeGguf(
    path,
    keys,
    factors.flatMap((f) => pairInputs(f, alpha, model)),
  );
}

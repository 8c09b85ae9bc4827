import type { FloatTensor } from "../tensor/tensor.ts";
import type { ModelConfig } from "./model.ts";
import { hfModuleName } from "./names.ts";
import { DEFAULT_LORA_CONFIG, type LoraConfig, peftConfigText } from "./peft/config.ts";
import { type ModuleTensors, tensorKeys } from "./peft/keys.ts";

/** LoRA of one module, whatever file it stands in. */
export interface LoraFactors {
  /** This project's path, `layers.0.attention.q`. */
  readonly path: string;
  readonly kind: "linear" | "embedding";
  /** [rank, in]; of an embedding [rank, vocabulary]. */
  readonly a: FloatTensor;
  /** [out, rank] */
  readonly b: FloatTensor;
  /** Factor on B·A, all told. */
  readonly scaling: number;
}

/** An adapter's files as PEFT would have written them. */
export interface PeftFiles {
  /** Content of adapter_config.json. */
  readonly config: Readonly<Record<string, unknown>>;
  /** By key of adapter_model.safetensors. */
  readonly tensors: ReadonlyMap<string, FloatTensor>;
}

/** A LoRA adapter in PEFT's terms. A rank or scaling that differs from the commonest becomes a pattern.
 *  @throws InputError for what PEFT's format cannot hold (a rank beyond its limit). */
export function peftFilesOf(
  factors: readonly LoraFactors[],
  model: Pick<ModelConfig, "family" | "layerCount">,
  baseModel: string | null,
): PeftFiles {
  const named = factors.map((f) => ({ ...f, name: hfModuleName(model.family, f.path) }));
  const rankOf = (f: LoraFactors): number => f.b.shape[1] as number;
  const alphaOf = (f: LoraFactors): number => f.scaling * rankOf(f);
  const rank = usualOf(named.map((f) => [f.name, rankOf(f)]));
  const alpha = usualOf(named.map((f) => [f.name, alphaOf(f)]));
  const names = named.map((f) => f.name);
  const config: LoraConfig = {
    ...DEFAULT_LORA_CONFIG,
    rank: rank.usual,
    alpha: alpha.usual,
    rankPattern: rank.pattern,
    alphaPattern: alpha.pattern,
    targetModules: targetsOf(names, model.layerCount),
    init: "kaiming-uniform",
    baseModel,
  };
  const tensors = new Map(named.map((f): [string, ModuleTensors] => [f.name, slotsOf(f)]));
  return {
    config: JSON.parse(peftConfigText(config)),
    tensors: new Map(tensorKeys(tensors).map(({ key, tensor }) => [key, tensor])),
  };
}

function slotsOf({ kind, a, b }: LoraFactors): ModuleTensors {
  return kind === "embedding" ? { loraEmbeddingA: a, loraEmbeddingB: b } : { loraA: a, loraB: b };
}

/** A value for each module, as PEFT states them: the commonest, and a pattern for every module that has another. */
export function usualOf(values: readonly (readonly [module: string, value: number])[]): {
  readonly usual: number;
  readonly pattern: Readonly<Record<string, number>>;
} {
  const usual = commonest(values.map(([, value]) => value));
  const others = values.filter(([, value]) => value !== usual);
  const pattern = others.map(([name, value]) => [`^${name.replaceAll(".", "\\.")}`, value] as const);
  return { usual, pattern: Object.fromEntries(pattern) };
}

/** The first of the commonest values. */
function commonest(values: readonly number[]): number {
  const counts = new Map<number, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].reduce((best, entry) => (entry[1] > best[1] ? entry : best), [1, 0])[0];
}

/** Names without what comes before them in the layer, where every layer has one; whole names else. */
function targetsOf(names: readonly string[], layerCount: number): string[] {
  const inLayer = (name: string): string => name.replace(/^.*?\.\d+\./, "");
  const counts = new Map<string, number>();
  for (const name of names) counts.set(inLayer(name), (counts.get(inLayer(name)) ?? 0) + 1);
  const isEverywhere = (name: string): boolean =>
    inLayer(name) !== name && counts.get(inLayer(name)) === layerCount;
  return [...new Set(names.map((name) => (isEverywhere(name) ? inLayer(name) : name)))].sort();
}

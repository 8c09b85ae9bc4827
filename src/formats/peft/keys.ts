import { InputError, type Problem, UnsupportedError } from "../../errors.ts";
import { firstNonFinite } from "../../tensor/finite.ts";
import type { FloatTensor } from "../../tensor/tensor.ts";
import type { LoraConfig } from "./config.ts";
import { isSavedModule, rankOf } from "./targets.ts";

/** What an adapter holds for one module. */
export interface ModuleTensors {
  /** [rank, in] */
  readonly loraA?: FloatTensor;
  /** [out, rank] */
  readonly loraB?: FloatTensor;
  /** [out]: B's own bias (PEFT's `lora_bias`). */
  readonly loraBias?: FloatTensor;
  /** [rank, vocab]: LoRA on an embedding. */
  readonly loraEmbeddingA?: FloatTensor;
  /** [dim, rank] */
  readonly loraEmbeddingB?: FloatTensor;
  /** [out], or [dim] of an embedding: DoRA's magnitude. */
  readonly magnitude?: FloatTensor;
  /** [out]: the base's bias, trained (`bias` "all" or "lora_only"). */
  readonly bias?: FloatTensor;
  /** The module's own weight, trained whole (`modulesToSave`, or an embedding that was resized). */
  readonly savedWeight?: FloatTensor;
  /** [out]: bias of such a module. */
  readonly savedBias?: FloatTensor;
  /** The base's weight under an adapted embedding or head: PEFT saves a copy of it. */
  readonly baseWeight?: FloatTensor;
}

type Slot = keyof ModuleTensors;

/** Where a tensor of the file belongs. */
export interface PlacedTensor {
  readonly module: string;
  readonly slot: Slot;
  readonly key: string;
}

const PREFIX = "base_model.model.";

/** Suffixes of PEFT's keys that say by themselves what the tensor is. */
const SUFFIXES: readonly (readonly [string, Slot])[] = [
  [".lora_A.weight", "loraA"],
  [".lora_B.weight", "loraB"],
  [".lora_B.bias", "loraBias"],
  [".lora_embedding_A", "loraEmbeddingA"],
  [".lora_embedding_B", "loraEmbeddingB"],
  [".lora_magnitude_vector", "magnitude"],
  [".base_layer.bias", "bias"],
  [".base_layer.weight", "baseWeight"],
];

/** Tensors of variants that are not implemented. */
const UNSUPPORTED: readonly (readonly [RegExp, string])[] = [
  [/\.(trainable_tokens_delta|token_adapter\.)/, "trainable tokens"],
];

/** Embeddings that PEFT saves whole when their size was changed, without being asked. */
const EMBEDDINGS = /(^|\.)(embed_tokens|lm_head|wte)$/;

/** Each key's module and meaning, and the keys that have none. */
export interface Placement {
  readonly placed: readonly PlacedTensor[];
  readonly problems: readonly Problem[];
}

/** Finds each key's module and meaning. @throws UnsupportedError for tensors of variants that are not implemented */
export function placementOf(where: string, keys: readonly string[], config: LoraConfig): Placement {
  const variants = UNSUPPORTED.filter(([pattern]) => keys.some((key) => pattern.test(key)));
  if (variants.length > 0)
    throw new UnsupportedError(`${where}: not supported yet: ${variants.map(([, name]) => name).join(", ")}`);
  const places = keys.map((key) => ({ key, place: placeOf(key, config) }));
  return {
    placed: places.flatMap(({ place }) => place ?? []),
    problems: places.flatMap(({ key, place }) => (place ? [] : [{ where: key, message: keyProblem(key) }])),
  };
}

/** The same where every key must have a meaning. @throws InputError listing every key without one; UnsupportedError. */
export function placeTensors(
  where: string,
  keys: readonly string[],
  config: LoraConfig,
): readonly PlacedTensor[] {
  const { placed, problems } = placementOf(where, keys, config);
  if (problems.length === 0) return placed;
  throw new InputError(`${where}: tensors that belong to nothing in the adapter configuration`, problems);
}

function keyProblem(key: string): string {
  return key.startsWith(PREFIX)
    ? "not a LoRA factor, bias or saved module"
    : `does not begin with "${PREFIX}"`;
}

function placeOf(key: string, config: LoraConfig): PlacedTensor | null {
  if (!key.startsWith(PREFIX)) return null;
  // PEFT names DoRA's magnitude as a module in memory; some tools save it so.
  const name = key.slice(PREFIX.length).replace(/\.lora_magnitude_vector\.weight$/, ".lora_magnitude_vector");
  for (const [suffix, slot] of SUFFIXES)
    if (name.endsWith(suffix)) return { module: name.slice(0, -suffix.length), slot, key };
  const [, module, kind] = /^(.+)\.(weight|bias)$/.exec(name) ?? [];
  if (module === undefined) return null;
  if (isSavedModule(config, module))
    return { module, slot: kind === "weight" ? "savedWeight" : "savedBias", key };
  if (kind === "bias") return config.bias === "none" ? null : { module, slot: "bias", key };
  return EMBEDDINGS.test(module) ? { module, slot: "savedWeight", key } : null;
}

/** PEFT's keys for an adapter's tensors, sorted. A trained bias is found under `base_layer` where its module is
 *  adapted. */
export function tensorKeys(
  tensors: ReadonlyMap<string, ModuleTensors>,
): { key: string; tensor: FloatTensor }[] {
  const suffixOf = new Map<Slot, string>(SUFFIXES.map(([suffix, slot]) => [slot, suffix]));
  suffixOf.set("savedWeight", ".weight").set("savedBias", ".bias");
  const keys = [...tensors].flatMap(([module, slots]) =>
    (Object.entries(slots) as [Slot, FloatTensor | undefined][]).flatMap(([slot, tensor]) => {
      if (tensor === undefined) return [];
      const suffix = slot === "bias" && !isAdapted(slots) ? ".bias" : suffixOf.get(slot);
      return [{ key: `${PREFIX}${module}${suffix}`, tensor }];
    }),
  );
  return keys.sort((a, b) => (a.key < b.key ? -1 : 1));
}

/** The module has LoRA factors. */
export function isAdapted(slots: ModuleTensors): boolean {
  return slots.loraA !== undefined || slots.loraEmbeddingA !== undefined;
}

/** Every tensor that does not fit: a factor without the other, ranks that differ from the configuration's, shapes, NaN or
 *  infinity; and if no module is adapted or saved. */
export function tensorProblems(tensors: ReadonlyMap<string, ModuleTensors>, config: LoraConfig): Problem[] {
  const problems = [...tensors].flatMap(([module, slots]) => [
    ...pairProblems(module, slots.loraA, slots.loraB, "lora_A", "lora_B", config),
    ...pairProblems(
      module,
      slots.loraEmbeddingA,
      slots.loraEmbeddingB,
      "lora_embedding_A",
      "lora_embedding_B",
      config,
    ),
    ...magnitudeProblems(module, slots, config),
    ...loraBiasProblems(module, slots, config),
    ...Object.entries(slots).flatMap(([slot, tensor]) => valueProblems(module, slot, tensor)),
  ]);
  if (![...tensors.values()].some((slots) => isAdapted(slots) || slots.savedWeight !== undefined))
    problems.push({ where: "tensors", message: "no module has LoRA factors" });
  return problems;
}

/** @throws InputError with every tensor that does not fit (`tensorProblems`). */
export function checkTensors(
  where: string,
  tensors: ReadonlyMap<string, ModuleTensors>,
  config: LoraConfig,
): void {
  const problems = tensorProblems(tensors, config);
  if (problems.length > 0) throw new InputError(`${where}: the tensors do not fit the adapter`, problems);
}

function pairProblems(
  module: string,
  a: FloatTensor | undefined,
  b: FloatTensor | undefined,
  aName: string,
  bName: string,
  config: LoraConfig,
): Problem[] {
  if (a === undefined && b === undefined) return [];
  if (a === undefined) return [{ where: module, message: `has ${bName} without ${aName}` }];
  if (b === undefined) return [{ where: module, message: `has ${aName} without ${bName}` }];
  const rank = rankOf(config, module);
  const problems: Problem[] = [];
  if (a.shape.length !== 2 || a.shape[0] !== rank)
    problems.push({ where: `${module}.${aName}`, message: `expected [${rank}, in], got [${a.shape}]` });
  if (b.shape.length !== 2 || b.shape[1] !== rank)
    problems.push({ where: `${module}.${bName}`, message: `expected [out, ${rank}], got [${b.shape}]` });
  return problems;
}

function magnitudeProblems(module: string, slots: ModuleTensors, config: LoraConfig): Problem[] {
  const { magnitude } = slots;
  const where = `${module}.lora_magnitude_vector`;
  if (magnitude === undefined)
    return config.dora && isAdapted(slots) ? [{ where, message: "is missing, and the adapter is DoRA" }] : [];
  if (!config.dora) return [{ where, message: "is there, but the configuration does not say use_dora" }];
  const size = (slots.loraB ?? slots.loraEmbeddingB)?.shape[0];
  if (magnitude.shape.length === 1 && magnitude.shape[0] === size) return [];
  return [{ where, message: `expected [${size ?? "out"}], got [${magnitude.shape}]` }];
}

function loraBiasProblems(module: string, slots: ModuleTensors, config: LoraConfig): Problem[] {
  const { loraB, loraBias } = slots;
  const where = `${module}.lora_B.bias`;
  if (loraBias === undefined)
    return config.loraBias && loraB ? [{ where, message: "is missing, and the adapter has lora_bias" }] : [];
  if (!config.loraBias) return [{ where, message: "is there, but the configuration does not say lora_bias" }];
  const size = loraB?.shape[0];
  if (loraBias.shape.length === 1 && loraBias.shape[0] === size) return [];
  return [{ where, message: `expected [${size ?? "out"}], got [${loraBias.shape}]` }];
}

function valueProblems(module: string, slot: string, tensor: FloatTensor | undefined): Problem[] {
  const index = tensor === undefined ? -1 : firstNonFinite(tensor.data);
  if (tensor === undefined || index < 0) return [];
  return [
    {
      where: `${module}.${slot}`,
      message: `element ${index} is ${tensor.data[index]}, expected finite values`,
    },
  ];
}

import { z } from "zod";
import { InputError, UnsupportedError } from "../../errors.ts";
import { MAX_WIDTH } from "../../options/values.ts";
import { type LoraConfig, readPeftConfig } from "./config.ts";
import { pythonRegExp } from "./python-regex.ts";

/** Keys that choose modules, the same in every PEFT configuration of this kind. */
const TARGET_KEYS = [
  ...["target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "fan_in_fan_out"],
  ...["base_model_name_or_path", "revision", "task_type"],
];
/** Keys that say nothing about what a trained adapter computes. */
const INERT_KEYS = ["peft_type", "auto_mapping", "peft_version", "inference_mode", "runtime_config"];

type Json = Readonly<Record<string, unknown>>;

/** A configuration of a relative of LoRA with a `peft_type` of its own, read: its own keys by `schema`, the choice of modules
 *  as LoRA's. `inert`: keys of it that count only in training.
 *  @throws InputError with everything that is wrong, UnsupportedError for settings that are not implemented */
function readRelative<T extends z.ZodRawShape>(
  json: Json,
  where: string,
  schema: z.ZodObject<T>,
  inert: readonly string[],
): { readonly own: z.output<z.ZodObject<T>>; readonly targets: LoraConfig; readonly warnings: string[] } {
  refuseOthers(json, where);
  const given = Object.fromEntries(Object.entries(json).filter(([, value]) => value !== null));
  const own = schema.safeParse(given);
  if (!own.success)
    throw new InputError(
      `${where} is not a valid adapter configuration`,
      own.error.issues.map((i) => ({ where: i.path.join("."), message: i.message })),
    );
  const targets = Object.fromEntries(TARGET_KEYS.flatMap((key) => (key in json ? [[key, json[key]]] : [])));
  const { config } = readPeftConfig({ ...targets, peft_type: "LORA" }, where);
  const known = new Set([...TARGET_KEYS, ...INERT_KEYS, ...Object.keys(schema.shape), ...inert, ...TRAINED]);
  const warnings = Object.keys(json)
    .filter((key) => !known.has(key) && isSet(json[key]))
    .map((key) => `${where}: unknown key "${key}" is ignored`);
  return { own: own.data, targets: config, warnings };
}

const TRAINED = ["bias", "modules_to_save"];

/** Biases and whole modules beside a relative of LoRA are not implemented. */
function refuseOthers(json: Json, where: string): void {
  const found = TRAINED.filter((key) => isSet(json[key]) && json[key] !== "none");
  if (found.length > 0) throw new UnsupportedError(`${where}: not supported yet: ${found.join(", ")}`);
}

function isSet(value: unknown): boolean {
  if (value === undefined || value === null || value === false) return false;
  return typeof value !== "object" || Object.keys(value).length > 0;
}

/** The keys of a configuration that choose modules, as PEFT writes them. `modules`: names of those that were chosen. */
export function targetKeys(config: LoraConfig, baseModel: string | null, modules: readonly string[]): Json {
  const all = typeof config.targetModules === "string" && config.targetModules.toLowerCase() === "all-linear";
  const kinds = [...new Set(modules.map((name) => name.split(".").at(-1) as string))].sort();
  return {
    base_model_name_or_path: baseModel,
    bias: "none",
    exclude_modules: config.excludeModules,
    inference_mode: true,
    layers_pattern: config.layersPattern,
    layers_to_transform: config.layersToTransform,
    modules_to_save: null,
    target_modules: all ? kinds : config.targetModules,
    task_type: config.taskType,
  };
}

/** A VeRA adapter's configuration. */
export interface VeraFile {
  readonly rank: number;
  readonly dropout: number;
  /** Starting value of d. */
  readonly dInitial: number;
  readonly hasProjections: boolean;
}

/** An AdaLoRA adapter's configuration: what counts once it is trained. */
export interface AdaLoraFile {
  readonly initialRank: number;
  readonly targetRank: number;
  readonly alpha: number;
  readonly dropout: number;
  /** Triplets kept, by PEFT's name of their singular values; null: all. */
  readonly kept: Readonly<Record<string, readonly boolean[]>> | null;
}

/** A configuration, the modules it chooses (other settings of LoRA do not apply) and what was passed over. */
export interface RelativeFile<T> {
  readonly own: T;
  readonly targets: LoraConfig;
  readonly warnings: readonly string[];
}

const rank = z.int().min(1).max(MAX_WIDTH);
const share = z.number().min(0).lt(1);

/** Modules of IA3 whose input is scaled: ends of names, or a Python regular expression over the whole name. */
export type FeedforwardModules = string | readonly string[];

/** PEFT's rule, which is not the one for targets: a name ends with an entry, at a dot or not. */
export function isFeedforward(feedforward: FeedforwardModules, name: string): boolean {
  if (typeof feedforward === "string") return pythonRegExp(feedforward, true).test(name);
  return feedforward.some((entry) => name.endsWith(entry));
}

/** PEFT chooses by the model's type where a key is missing, and writes what it chose. */
const IA3 = z.object({
  target_modules: z.union([z.string(), z.array(z.string())]),
  feedforward_modules: z.union([z.string(), z.array(z.string())]),
});

/** An IA3 adapter's configuration. */
export interface Ia3File {
  readonly feedforward: FeedforwardModules;
}

/** @throws InputError, UnsupportedError */
export function readIa3Config(json: Json, where: string): RelativeFile<Ia3File> {
  const { own, ...rest } = readRelative(json, where, IA3, ["init_ia3_weights"]);
  return { ...rest, own: { feedforward: own.feedforward_modules } };
}

/** PEFT's defaults. */
const VERA = z.object({
  r: rank.default(256),
  vera_dropout: share.default(0),
  d_initial: z.number().default(0.1),
  save_projection: z.boolean().default(true),
});

/** @throws InputError, UnsupportedError */
export function readVeraConfig(json: Json, where: string): RelativeFile<VeraFile> {
  const { own, ...rest } = readRelative(json, where, VERA, ["init_weights", "projection_prng_key"]);
  const { r, vera_dropout: dropout, d_initial: dInitial, save_projection: hasProjections } = own;
  return { ...rest, own: { rank: r, dropout, dInitial, hasProjections } };
}

/** Ours: PEFT has no such method. */
const INTRINSIC = z.object({ intrinsic_dimension: z.int().min(1).max(1e9) });

/** Configuration of an adapter trained in few dimensions. */
export interface IntrinsicFile {
  readonly dimension: number;
}

/** @throws InputError, UnsupportedError */
export function readIntrinsicConfig(json: Json, where: string): RelativeFile<IntrinsicFile> {
  const { own, ...rest } = readRelative(json, where, INTRINSIC, ["lowrank_method"]);
  return { ...rest, own: { dimension: own.intrinsic_dimension } };
}

/** PEFT's defaults. */
const ADALORA = z.object({
  init_r: rank.default(12),
  target_r: rank.default(8),
  lora_alpha: z.number().default(8),
  lora_dropout: share.default(0),
  rank_pattern: z.record(z.string(), z.array(z.boolean())).nullish(),
});

/** Keys of AdaLoRA that count only in training, and those of LoRA that it inherits and does not use. */
const ADALORA_INERT = [
  ...["tinit", "tfinal", "deltaT", "beta1", "beta2", "orth_reg_weight", "total_step", "r", "megatron_core"],
  ...["init_lora_weights", "qalora_group_size", "use_rslora", "alpha_pattern", "loftq_config"],
];

/** @throws InputError, UnsupportedError */
export function readAdaLoraConfig(json: Json, where: string): RelativeFile<AdaLoraFile> {
  const { own, ...rest } = readRelative(json, where, ADALORA, ADALORA_INERT);
  return {
    ...rest,
    own: {
      initialRank: own.init_r,
      targetRank: own.target_r,
      alpha: own.lora_alpha,
      dropout: own.lora_dropout,
      kept: own.rank_pattern ?? null,
    },
  };
}

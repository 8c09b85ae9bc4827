import { z } from "zod";
import { InputError, type Problem, UnsupportedError } from "../../errors.ts";
import { isObject } from "../../io/json.ts";
import { MAX_WIDTH } from "../../options/values.ts";

/** A LoRA adapter's configuration in this project's terms; module names are the Hugging Face ones. */
export interface LoraConfig {
  readonly rank: number;
  /** Numerator of the scaling: alpha/rank, or alpha/√rank with rsLoRA. */
  readonly alpha: number;
  /** Probability in [0, 1). */
  readonly dropout: number;
  /** Biases of the base that are trained: none, all of them, or those of the adapted layers. */
  readonly bias: "none" | "all" | "lora_only";
  /** A Python regular expression over the whole name, "all-linear", or names and dotted suffixes. */
  readonly targetModules: string | readonly string[];
  /** As `targetModules`, taken away from it. */
  readonly excludeModules: string | readonly string[] | null;
  readonly layersToTransform: readonly number[] | null;
  /** Names of the lists of layers ("layers", "h"); null for any. */
  readonly layersPattern: readonly string[] | null;
  /** Ranks that differ: pattern of the module name → rank; the first pattern that matches counts. */
  readonly rankPattern: Readonly<Record<string, number>>;
  readonly alphaPattern: Readonly<Record<string, number>>;
  readonly rsLora: boolean;
  /** Magnitude and direction of each weight apart (DoRA, arXiv 2402.09353). */
  readonly dora: boolean;
  /** B has a bias of its own: s·(B·A·x + b) (PEFT's `lora_bias`). */
  readonly loraBias: boolean;
  /** Modules trained whole and saved beside the factors. */
  readonly modulesToSave: readonly string[];
  readonly init: "gaussian" | "kaiming-uniform";
  /** The base stores these weights [in, out] (GPT-2's Conv1D). */
  readonly fanInFanOut: boolean;
  readonly baseModel: string | null;
  readonly revision: string | null;
  readonly taskType: string | null;
}

/** The product's defaults. They differ from those of the file format, which apply only when a file is read. */
export const DEFAULT_LORA_CONFIG: LoraConfig = {
  rank: 16,
  alpha: 32,
  dropout: 0,
  bias: "none",
  targetModules: "all-linear",
  excludeModules: null,
  layersToTransform: null,
  layersPattern: null,
  rankPattern: {},
  alphaPattern: {},
  rsLora: false,
  dora: false,
  loraBias: false,
  modulesToSave: [],
  init: "gaussian",
  fanInFanOut: false,
  baseModel: null,
  revision: null,
  taskType: "CAUSAL_LM",
};

/** An adapter_config.json, read. */
export interface PeftConfig {
  readonly config: LoraConfig;
  /** The file as it stands, unknown keys included. */
  readonly raw: Readonly<Record<string, unknown>>;
  /** What was ignored, in words. */
  readonly warnings: readonly string[];
}

const names = z.array(z.string());
const rank = z.int().min(1).max(MAX_WIDTH);

/** The keys of PEFT's LoraConfig (0.21) that count here, with its defaults. */
const FILE = z.object({
  peft_type: z.literal("LORA"),
  target_modules: z.union([z.string(), names]),
  r: rank.default(8),
  lora_alpha: z.number().default(8),
  lora_dropout: z.number().min(0).lt(1).default(0),
  bias: z.enum(["none", "all", "lora_only"]).default("none"),
  exclude_modules: z.union([z.string(), names]).nullish(),
  layers_to_transform: z.union([z.int(), z.array(z.int())]).nullish(),
  layers_pattern: z.union([z.string(), names]).nullish(),
  rank_pattern: z.record(z.string(), rank).nullish(),
  alpha_pattern: z.record(z.string(), z.number()).nullish(),
  use_rslora: z.boolean().default(false),
  use_dora: z.boolean().default(false),
  lora_bias: z.boolean().default(false),
  modules_to_save: names.nullish(),
  init_lora_weights: z.union([z.boolean(), z.string()]).nullish(),
  fan_in_fan_out: z.boolean().default(false),
  base_model_name_or_path: z.string().nullish(),
  revision: z.string().nullish(),
  task_type: z.string().nullish(),
});
type FileConfig = z.infer<typeof FILE>;

/** Keys that say nothing about what a trained adapter computes. */
const INERT_KEYS = [
  ...["auto_mapping", "peft_version", "inference_mode", "runtime_config", "qalora_group_size"],
  ...["loftq_config", "eva_config", "corda_config", "lora_ga_config", "velora_config", "megatron_core"],
];

/** Keys that change what the adapter computes in ways that are not implemented. */
const UNSUPPORTED_KEYS = [
  ...["use_qalora", "target_parameters", "trainable_token_indices"],
  ...["layer_replication", "use_bdlora", "alora_invocation_tokens", "arrow_config", "kasa_config"],
  ...["monteclora_config", "ensure_weight_tying", "megatron_config"],
];

/** Initialisations that change the base weights, so that A and B fit only the base that is left over. */
const BASE_CHANGING_INIT = /^(pissa|olora|corda|loftq|lora_ga)/;

/** Reads the content of an adapter_config.json. `where` names the file in errors.
 *  @throws InputError with everything that is wrong in the file;
 *  @throws UnsupportedError for other methods than LoRA, variants not implemented, and mlx-lm's format. */
export function readPeftConfig(json: unknown, where: string): PeftConfig {
  if (!isObject(json)) throw new InputError(`${where} is not a JSON object`, []);
  refuseOtherFormats(json, where);
  refuseUnsupported(json, where);
  const file = FILE.safeParse(dropNulls(json));
  const problems = [
    ...(file.error?.issues ?? []).map((i) => ({ where: i.path.join(".") || "(top)", message: i.message })),
    ...combinationProblems(json),
  ];
  if (file.data === undefined || problems.length > 0)
    throw new InputError(`${where} is not a valid adapter configuration`, problems);
  const known = new Set([...Object.keys(FILE.shape), ...INERT_KEYS, ...UNSUPPORTED_KEYS]);
  const unknown = Object.keys(json).filter((key) => !known.has(key));
  const warnings = unknown.map((key) => `${where}: unknown key "${key}" is ignored`);
  return { config: fromFile(file.data), raw: json, warnings };
}

/** PEFT writes null for "not set"; the schema's defaults stand for that. `target_modules: null` stays missing. */
function dropNulls(json: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(json).filter(([, value]) => value !== null));
}

function refuseOtherFormats(json: Record<string, unknown>, where: string): void {
  if (json.peft_type === undefined && json.lora_parameters !== undefined)
    throw new UnsupportedError(
      `${where} is an mlx-lm adapter (it has lora_parameters, no peft_type), expected PEFT's; convert it first: ` +
        "lowrank convert --to peft",
    );
  const type = json.peft_type;
  if (typeof type === "string" && type !== "LORA")
    throw new UnsupportedError(`${where}: peft_type "${type}" is not supported; supported: LORA`);
}

function refuseUnsupported(json: Record<string, unknown>, where: string): void {
  const found = UNSUPPORTED_KEYS.filter((key) => isSet(json[key]));
  const init = json.init_lora_weights;
  if (typeof init === "string" && BASE_CHANGING_INIT.test(init)) found.push(`init_lora_weights: "${init}"`);
  if (found.length > 0) throw new UnsupportedError(`${where}: not supported yet: ${found.join(", ")}`);
}

function isSet(value: unknown): boolean {
  if (value === undefined || value === null || value === false) return false;
  if (Array.isArray(value)) return value.length > 0;
  return typeof value !== "object" || Object.keys(value).length > 0;
}

function combinationProblems(json: Record<string, unknown>): Problem[] {
  const problems: Problem[] = [];
  const byPattern = typeof json.target_modules === "string";
  for (const key of ["layers_to_transform", "layers_pattern"])
    if (byPattern && json[key] !== undefined && json[key] !== null)
      problems.push({ where: key, message: "cannot be used when target_modules is a string" });
  if (isSet(json.layers_pattern) && json.layers_pattern !== "" && !isGiven(json.layers_to_transform))
    problems.push({ where: "layers_pattern", message: "needs layers_to_transform" });
  return problems;
}

function isGiven(value: unknown): boolean {
  return value !== undefined && value !== null;
}

function listOf<T>(value: T | readonly T[] | null | undefined): readonly T[] | null {
  if (value === null || value === undefined) return null;
  const list = Array.isArray(value) ? (value as readonly T[]) : [value as T];
  return list.length > 0 ? list : null;
}

function fromFile(file: FileConfig): LoraConfig {
  return {
    rank: file.r,
    alpha: file.lora_alpha,
    dropout: file.lora_dropout,
    bias: file.bias,
    targetModules: file.target_modules,
    excludeModules: file.exclude_modules?.length ? file.exclude_modules : null,
    layersToTransform: listOf(file.layers_to_transform),
    layersPattern: listOf(file.layers_pattern || null),
    rankPattern: file.rank_pattern ?? {},
    alphaPattern: file.alpha_pattern ?? {},
    rsLora: file.use_rslora,
    dora: file.use_dora,
    loraBias: file.lora_bias,
    modulesToSave: file.modules_to_save ?? [],
    init: file.init_lora_weights === "gaussian" ? "gaussian" : "kaiming-uniform",
    fanInFanOut: file.fan_in_fan_out,
    baseModel: file.base_model_name_or_path ?? null,
    revision: file.revision ?? null,
    taskType: file.task_type ?? null,
  };
}

/** The content of adapter_config.json for a configuration: keys sorted, two spaces, as PEFT writes it. Only keys that
 *  every PEFT release since 0.8 knows, and `use_dora` (0.9), `exclude_modules` and `lora_bias` (0.14) where they are set; `peft_version`
 *  is left to PEFT.
 *  @throws InputError if the configuration is not one that `readPeftConfig` would take. */
export function peftConfigText(config: LoraConfig): string {
  const json = toFile(config);
  readPeftConfig(json, "adapter configuration");
  return `${JSON.stringify(sorted(json), null, 2)}\n`;
}

function toFile(config: LoraConfig): Record<string, unknown> {
  return {
    peft_type: "LORA",
    task_type: config.taskType,
    inference_mode: true,
    auto_mapping: null,
    base_model_name_or_path: config.baseModel,
    revision: config.revision,
    r: config.rank,
    lora_alpha: config.alpha,
    lora_dropout: config.dropout,
    bias: config.bias,
    target_modules: config.targetModules,
    ...(config.excludeModules === null ? {} : { exclude_modules: config.excludeModules }),
    layers_to_transform: config.layersToTransform,
    layers_pattern: config.layersPattern,
    rank_pattern: config.rankPattern,
    alpha_pattern: config.alphaPattern,
    use_rslora: config.rsLora,
    ...(config.dora ? { use_dora: true } : {}),
    ...(config.loraBias ? { lora_bias: true } : {}),
    modules_to_save: config.modulesToSave.length > 0 ? config.modulesToSave : null,
    // PEFT opens an adapter with lora_bias only under its own initialisation, which a trained one no longer needs.
    init_lora_weights: config.init === "gaussian" && !config.loraBias ? "gaussian" : true,
    fan_in_fan_out: config.fanInFanOut,
  };
}

function sorted(value: unknown): unknown {
  if (!isObject(value)) return value;
  const keys = Object.keys(value).sort();
  return Object.fromEntries(keys.map((key) => [key, sorted(value[key])]));
}

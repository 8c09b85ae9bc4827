import { InputError, type Problem } from "../../errors.ts";

/** Sizes that PEFT's prompt methods state in adapter_config.json. */
export interface PromptSizes {
  /** Width of a virtual token; of prefix tuning, of a layer's keys. */
  readonly token_dim: number;
  readonly num_layers: number;
  readonly num_attention_heads: number;
}

type Json = Readonly<Record<string, unknown>>;

const SHARED_KEYS = [
  ...["peft_type", "peft_version", "base_model_name_or_path", "revision", "task_type", "auto_mapping"],
  ...["inference_mode", "modules_to_save", "num_virtual_tokens", "num_transformer_submodules"],
  ...["token_dim", "num_layers", "num_attention_heads"],
];

/** adapter_config.json of a prompt method as PEFT writes it, keys sorted. */
export function promptConfig(
  peftType: string,
  count: number,
  sizes: PromptSizes,
  baseModel: string | null,
  own: Json,
): Json {
  const config = {
    auto_mapping: null,
    base_model_name_or_path: baseModel,
    inference_mode: true,
    modules_to_save: null,
    num_transformer_submodules: 1,
    num_virtual_tokens: count,
    peft_type: peftType,
    revision: null,
    task_type: "CAUSAL_LM",
    ...sizes,
    ...own,
  };
  return Object.fromEntries(Object.entries(config).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Number of virtual tokens of a prompt method's adapter_config.json, checked against the model's sizes. Keys that are
 *  neither shared by all prompt methods nor among `ownKeys` are warned about.
 *  @throws InputError listing everything that does not hold or does not fit */
export function readPromptConfig(
  json: Json,
  sizes: PromptSizes,
  ownKeys: readonly string[],
  where: string,
): { readonly count: number; readonly warnings: readonly string[] } {
  const problems: Problem[] = [];
  const expect = (key: string, expected: string, holds: boolean): void => {
    if (!holds)
      problems.push({ where: key, message: `expected ${expected}, got ${JSON.stringify(json[key])}` });
  };
  const absentOr = (key: string, value: unknown): boolean => (json[key] ?? value) === value;
  expect("num_virtual_tokens", "a whole number of 1 or more", isCount(json.num_virtual_tokens));
  for (const [key, size] of Object.entries(sizes)) expect(key, `${size} for this model`, absentOr(key, size));
  expect("num_transformer_submodules", "1", absentOr("num_transformer_submodules", 1));
  expect("task_type", '"CAUSAL_LM"', absentOr("task_type", "CAUSAL_LM"));
  expect("modules_to_save", "null", absentOr("modules_to_save", null));
  if (problems.length > 0)
    throw new InputError(`${where}: the adapter configuration does not fit the model`, problems);
  const known = new Set([...SHARED_KEYS, ...ownKeys]);
  const unknown = Object.keys(json).filter((key) => !known.has(key));
  return {
    count: json.num_virtual_tokens as number,
    warnings: unknown.map((key) => `${where}: ${key} is not known and was passed over`),
  };
}

/** A whole number of at least `least` under `key` of our own configurations. @throws InputError */
export function ownCount(json: Json, key: string, least: number, where: string): number {
  const value = json[key];
  if (isCount(value, least)) return value;
  throw new InputError(`${where}: the adapter configuration does not hold`, [
    {
      where: key,
      message: `expected a whole number of ${least} or more, got ${JSON.stringify(value)}`,
    },
  ]);
}

function isCount(value: unknown, least = 1): value is number {
  return Number.isSafeInteger(value) && (value as number) >= least;
}

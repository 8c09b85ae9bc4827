import { UnsupportedError } from "../../errors.ts";
import type { Fields } from "../fields.ts";
import type { GgufFile } from "../gguf/file.ts";
import type { GgufTyped } from "../gguf/values.ts";
import type { Classifier, ModelConfig } from "../model.ts";

/** A model architecture as the outside world knows it: what transformers and llama.cpp call it and its parts. */
export interface Architecture {
  /** Class in transformers. */
  readonly name: string;
  /** Classes of checkpoints that hold the same model with other heads, which are left out. */
  readonly otherNames?: readonly string[];
  /** `model_type` in transformers. */
  readonly modelType: string;
  /** Our model family; architectures of one family share their names. */
  readonly family: string;
  readonly names: Naming;
  /** Translates config.json. What is missing or wrong is collected in `config`. */
  readonly parse: (config: Fields) => ParsedConfig;
  /** Fields of config.json with which every linear layer but the head has a bias; missing where there are none such. */
  readonly allBiases?: HfConfig;
  /** null where GGUF files know it under another architecture's name (Mistral is llama there), or not at all. */
  readonly gguf: GgufArchitecture | null;
  /** Modules that LoRA adapts where none are named; all linear layers where this is missing. */
  readonly loraTargets?: readonly string[];
  /** Modules that PEFT adapts where a configuration of LoRA, AdaLoRA or VeRA names none; missing where it then names none either. */
  readonly peftTargets?: readonly string[];
  /** Modules of a head that is trained whole beside an adapter, as PEFT names them. */
  readonly headModules?: readonly string[];
  /** The config.json of the same model with this head. */
  readonly withClassifier?: (config: HfConfig, classifier: Classifier) => HfConfig;
}

/** A configuration but for what the architecture itself says. */
export type ParsedConfig = Omit<ModelConfig, "family" | "architecture">;

/** An architecture in GGUF files. */
export interface GgufArchitecture {
  /** `general.architecture`, which is also the prefix of its keys. */
  readonly name: string;
  /** Q and K are stored with rows in interleaved order (`gguf-permute.ts`). */
  readonly permuted: boolean;
  /** `tokenizer.ggml.pre` of files that do not name it (of before 2024-05, or "default"). */
  readonly preTokenizer: string;
  /** The keys of config.json that are the architecture's own. What is missing or wrong is collected in `keys`. */
  readonly configOf: (gguf: GgufFile, keys: Fields, prefix: string) => HfConfig | Promise<HfConfig>;
  /** The way back: keys without the prefix, of a configuration. Missing where no GGUF can be written yet.
   *  @throws UnsupportedError for what the architecture has no key for. */
  readonly keysOf?: (config: ModelConfig) => Readonly<Record<string, GgufTyped>>;
}

/** A config.json. */
export type HfConfig = Readonly<Record<string, unknown>>;

/** What the modules are called. */
export interface Naming {
  readonly rows: readonly NameRow[];
  /** Prefix of the base model inside the language model; checkpoints of the bare base model lack it. */
  readonly basePrefix: string;
  /** Buffers that old checkpoints carry and no model needs. */
  readonly ignored: RegExp;
}

/** One module of a model by its three names; `{i}` stands for the layer. */
export interface NameRow {
  readonly ours: string;
  /** Module path in transformers, as PEFT sees it. */
  readonly hf: string;
  /** null where GGUF files have no such module. */
  readonly gguf: string | null;
  /** Stored as Conv1D in transformers: [in, out] instead of [out, in]. */
  readonly transposed?: true;
  /** What is added to the weight in GGUF files. */
  readonly ggufOffset?: number;
}

/** More layers than any model has: a damaged count must not make us list weights without end. */
export const LAYER_LIMIT = 2000;

const ACTIVATIONS: Readonly<Record<string, ModelConfig["activation"]>> = {
  silu: "silu",
  swish: "silu",
  gelu: "gelu",
  gelu_new: "gelu-tanh",
  gelu_fast: "gelu-tanh",
  gelu_pytorch_tanh: "gelu-tanh",
  relu: "relu",
};

/** The activation function under a key of config.json. */
export function activationOf(config: Fields, key: string, fallback: string): ModelConfig["activation"] {
  const name = config.text(key, fallback);
  const activation = Object.hasOwn(ACTIVATIONS, name) ? ACTIVATIONS[name] : undefined;
  if (activation) return activation;
  config.problem(key, `activation "${name}" is not supported, known: ${Object.keys(ACTIVATIONS).join(", ")}`);
  return "silu";
}

/** llama.cpp has one activation per architecture. @throws UnsupportedError for another */
export function requireActivation(config: ModelConfig, activation: ModelConfig["activation"]): void {
  if (config.activation === activation) return;
  throw new UnsupportedError(
    `a ${config.family} model with the activation "${config.activation}" cannot be written as GGUF: llama.cpp computes ` +
      `"${activation}" there`,
  );
}

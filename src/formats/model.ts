import type { HashOf } from "../io/fingerprint-of.ts";
import type { FloatTensor } from "../tensor/tensor.ts";

/** Rotary position embedding: base frequency and, where the model stretches it, how. */
export interface RopeConfig {
  readonly theta: number;
  /** Llama 3.1's scaling (by wavelength), plain linear scaling, or none. */
  readonly scaling:
    | { readonly kind: "none" }
    | { readonly kind: "linear"; readonly factor: number }
    | {
        readonly kind: "llama3";
        readonly factor: number;
        readonly lowFreqFactor: number;
        readonly highFreqFactor: number;
        readonly originalMaxPositions: number;
      };
}

/** What an encoder's head tells apart. */
export interface Classifier {
  /** Names of the outputs, in their order; one for a value. */
  readonly labels: readonly string[];
  /** A class of several, or a value. */
  readonly kind: "classes" | "value";
}

/** What only an encoder has. */
export interface EncoderConfig {
  /** Rows of the embedding that tells the sequences of a pair apart. */
  readonly tokenTypeCount: number;
  /** Row of the position embedding that the first token takes (RoBERTa: the padding id + 1). */
  readonly firstPosition: number;
  /** Standard deviation of the weights of a new head. */
  readonly initializerRange: number;
  readonly classifier: Classifier;
}

/** What a model is, in this project's terms. Translated from `config.json` or GGUF keys by `formats/`. */
export interface ModelConfig {
  /** Key in the table of model families: "llama" | "qwen2" | "qwen3" | "gpt2" | … (mistral is "llama"). */
  readonly family: string;
  /** The architecture as the source names it, e.g. "LlamaForCausalLM". */
  readonly architecture: string;
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly layerCount: number;
  readonly headCount: number;
  readonly kvHeadCount: number;
  readonly headDim: number;
  readonly mlpSize: number;
  readonly maxPositions: number;
  readonly normEpsilon: number;
  readonly activation: "silu" | "gelu" | "gelu-tanh" | "relu";
  /** null where positions are learned (gpt2). */
  readonly rope: RopeConfig | null;
  /** Output layer shares the embedding's weight. */
  readonly tiedEmbeddings: boolean;
  /** q, k and v projections have biases. */
  readonly qkvBias: boolean;
  /** The attention output projection has a bias. */
  readonly outputBias: boolean;
  /** MLP projections have biases. */
  readonly mlpBias: boolean;
  /** Tokens a query may look back, itself included; null for all (Mistral v0.1 has 4096). */
  readonly slidingWindow: number | null;
  /** The layers that alone have the sliding window, ascending, and their rotary embedding; `rope` is that of the others.
   *  Missing where all layers are alike. */
  readonly localLayers?: { readonly indices: readonly number[]; readonly rope: RopeConfig };
  /** Factor on q·k where it is not 1/√headDim. */
  readonly attentionScale?: number;
  /** Factor on the embedding's rows where it is not 1 (Gemma: √hiddenSize). */
  readonly embeddingScale?: number;
  /** Tokens see those after them too, and a head classifies the sequence. Missing for decoders. */
  readonly encoder?: EncoderConfig;
}

/** A weight of a model by this project's path, e.g. `layers.0.attention.q.weight`; `read` dequantizes to float32.
 *  Linear weights are always [out, in] (GPT-2's Conv1D is transposed on reading). */
export interface WeightEntry {
  readonly path: string;
  /** What the checkpoint calls it. */
  readonly name: string;
  readonly shape: readonly number[];
  /** Storage type as the source names it: "F32", "BF16", "Q4_1", … */
  readonly storage: string;
  /** Bytes on disk. */
  readonly sizeBytes: number;
  read(): Promise<FloatTensor>;
}

/** Raw material for a tokenizer: the contents of tokenizer.json and tokenizer_config.json (rebuilt from GGUF keys
 *  where the source is a GGUF). */
export interface TokenizerSource {
  readonly tokenizerJson: Readonly<Record<string, unknown>>;
  readonly tokenizerConfig: Readonly<Record<string, unknown>>;
  /** Jinja template, or null for models without one. */
  readonly chatTemplate: string | null;
  /** Text of special tokens where known. */
  readonly bosToken: string | null;
  readonly eosToken: string | null;
  readonly padToken: string | null;
  readonly unkToken: string | null;
  /** The model starts every sequence with BOS (llama 2/3 do, SmolLM2 and qwen do not). */
  readonly addBos: boolean;
}

/** A model on disk, opened: everything that loading, merging and inspecting need. */
export interface ModelSource {
  /** What the user asked for: alias, path or Hub id. Written to `base_model_name_or_path`. */
  readonly name: string;
  readonly kind: "folder" | "gguf";
  /** Absolute path of the folder or the .gguf file. */
  readonly path: string;
  readonly config: ModelConfig;
  /** The Hugging Face config.json (rebuilt from GGUF keys where the source is a GGUF). */
  readonly hfConfig: Readonly<Record<string, unknown>>;
  /** In the order of the checkpoint. Whether they are those of the configuration is checked where a model is loaded. */
  readonly weights: readonly WeightEntry[];
  /** What the checkpoint calls, or would call, the weight of a path.
   *  @throws UnsupportedError for a path that no model of the family has. */
  nameOf(path: string): string;
  readonly tokenizer: TokenizerSource;
  /** Ids that end generation (eos of config and generation_config, end-of-turn), ascending. */
  readonly eosIds: readonly number[];
  /** Content identity: changes when any byte of the weight files changes. `hashOf`: sha256 of a file; default: it is read. */
  fingerprint(hashOf?: HashOf): Promise<string>;
  /** For `inspect`: raw metadata, e.g. GGUF keys (arrays abbreviated) or safetensors metadata. */
  readonly metadata: Readonly<Record<string, unknown>>;
  close(): Promise<void>;
}

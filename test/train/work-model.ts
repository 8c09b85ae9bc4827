import type { Example } from "../../src/data/batch.ts";
import { parseHfConfig } from "../../src/formats/hf/config.ts";
import { DEFAULT_LORA_CONFIG } from "../../src/formats/peft/config.ts";
import { weightLookups } from "../../src/models/base-context.ts";
import { familyOf } from "../../src/models/families.ts";
import type { WeightFile } from "../../src/models/weight-layout.ts";
import { lora } from "../../src/peft/methods/lora.ts";
import type { AdaptedModel } from "../../src/peft/use/adapted-model.ts";

/** config.json of SmolLM2-135M, as far as it decides the graph. */
const SMOLLM2 = {
  architectures: ["LlamaForCausalLM"],
  model_type: "llama",
  hidden_size: 576,
  intermediate_size: 1536,
  num_hidden_layers: 30,
  num_attention_heads: 9,
  num_key_value_heads: 3,
  vocab_size: 49152,
  max_position_embeddings: 8192,
  rms_norm_eps: 1e-5,
  rope_theta: 100000,
  hidden_act: "silu",
  tie_word_embeddings: true,
};

/** Graphs need the shapes of weights, not the weights. */
const noWeights: WeightFile = {
  ...{ folder: "", fingerprint: "", warnings: [] },
  sizeBytes: 0,
  shapeOf: () => null,
  bitsOf: () => 32,
  has: () => false,
  locate: () => ({ fileName: "weights.bin", offsetBytes: 0, sizeBytes: 0 }),
  read: () => Promise.reject(new Error("there are no weights")),
};

/** SmolLM2-135M without weights; with LoRA of that rank on those modules, or alone. */
export function smollm2(adapter: { rank: number; targetModules: readonly string[] } | null): AdaptedModel {
  const config = parseHfConfig(SMOLLM2, "config.json");
  const family = familyOf(config.family);
  const modules = family.modules(config);
  const method = adapter && lora({ ...DEFAULT_LORA_CONFIG, ...adapter }, family.name, modules);
  return {
    config,
    family,
    modules,
    frozen: weightLookups(modules, noWeights).frozen,
    methods: method ? [method] : [],
    positionCount: 512,
    rowTokens: 512,
  };
}

const SYSTEM =
  "<s> system \n You are a helpful AI assistant named SmolLM, trained by Hugging Face </s> \n <s> user \n";

/** Rows as examples of words and signs in place of a tokenizer's pieces: the same sharing, about the same lengths. */
export function wordExamples(
  rows: readonly { readonly prompt: string; readonly completion: string }[],
): Example[] {
  const ids = new Map<string, number>();
  const idOf = (piece: string): number => {
    if (!ids.has(piece)) ids.set(piece, ids.size);
    return ids.get(piece) as number;
  };
  const encode = (text: string): number[] => (text.match(/\w{1,6}|[^\w ]/g) ?? []).map(idOf);
  return rows.map(({ prompt, completion }, index) => {
    const before = encode(`${SYSTEM} ${prompt} </s> \n <s> assistant \n`);
    const after = encode(`${completion} </s> \n`);
    const isLabel = Uint8Array.from([...before.map(() => 0), ...after.map(() => 1)]);
    return { ids: Int32Array.from([...before, ...after]), isLabel, index };
  });
}

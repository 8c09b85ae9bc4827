import { InputError } from "../../errors.ts";
import type { FloatTensor } from "../../tensor/tensor.ts";
import {
  type AdapterTensors,
  defineMethod,
  type Method,
  type Trainable,
  type VirtualTokens,
} from "../method.ts";
import { type MethodKind, methodKind } from "../method-kind.ts";
import type { ModelShape } from "../model-shape.ts";
import { readNamed } from "./named-tensors.ts";
import { type VirtualTokenOptions, virtualTokenSettings } from "./prefix-options.ts";
import { ownCount, type PromptSizes, promptConfig, readPromptConfig } from "./prompt-config.ts";
import { virtualInit } from "./virtual-init.ts";
import { virtualRows } from "./virtual-rows.ts";

const NAME = "prefix-embedding";
const PEFT_TYPE = "PROMPT_TUNING";
const TRAINABLE = "virtualTokens";
/** PEFT's key; the same where the infix makes the adapter one of ours. */
const KEY = "prompt_embeddings";
const PEFT_KEYS = [
  "prompt_tuning_init",
  "prompt_tuning_init_text",
  "tokenizer_name_or_path",
  "tokenizer_kwargs",
];

/** What the prefix methods with virtual tokens are made of. */
export interface VirtualPlan {
  readonly tokens: VirtualTokens;
  /** Text whose embeddings are the first values; null: random. */
  readonly text: string | null;
}

/** Virtual tokens of the options. @throws InputError if there are none */
export function virtualPlan(
  { prefixLength, infixLength, prefixText: text }: VirtualTokenOptions,
  method: string,
): VirtualPlan {
  if (prefixLength + infixLength > 0) return { tokens: { prefix: prefixLength, infix: infixLength }, text };
  throw new InputError(`${method} needs virtual tokens`, [
    {
      where: "prefixLength",
      message: "expected at least 1 token in prefixLength or infixLength, got 0 in both",
    },
  ]);
}

/** The token embeddings of a plan, l_p + l_i rows: first the prefix, then the infix. */
export function virtualTrainable(name: string, plan: VirtualPlan, shape: ModelShape): Trainable {
  const count = plan.tokens.prefix + plan.tokens.infix;
  const size = [count, shape.config.hiddenSize];
  return { name, shape: size, init: virtualInit(plan.text, count, shape) };
}

/** Prefix-embedding tuning (PreEmbed of the LoRA paper, §5.1; Lester et al. 2021, prompt tuning): l_p trainable token
 *  embeddings in front of the sequence and l_i between prompt and completion. |Θ| = d·(l_p + l_i). */
export function prefixEmbedding(plan: VirtualPlan, shape: ModelShape): Method {
  const { vocabSize } = shape.config;
  const { prefix, infix } = plan.tokens;
  const trainable = virtualTrainable(TRAINABLE, plan, shape);
  return defineMethod({
    name: NAME,
    trainables: [trainable],
    virtualTokens: plan.tokens,
    wrap: (ctx, inputs) => {
      const rows = virtualRows(inputs.ids, vocabSize, prefix + infix);
      const trained = inputs.trainable(TRAINABLE);
      return {
        ...ctx,
        embedding: (path, ids) => ctx.embedding(path, path === "embed" ? rows.tableIds : ids),
        output: (path, x) => {
          const y = ctx.output(path, x);
          return path === "embed" ? rows.replace(y, trained) : y;
        },
      };
    },
    merging: "its virtual tokens are part of the sequence, and no weight holds them",
    files: files(plan, trainable, shape),
    structure: JSON.stringify([NAME, plan.tokens]),
  });
}

function sizesOf({ config }: ModelShape): PromptSizes {
  return {
    token_dim: config.hiddenSize,
    num_layers: config.layerCount,
    num_attention_heads: config.headCount,
  };
}

/** PEFT's prompt tuning where there is no infix, which PEFT does not have. */
function files(plan: VirtualPlan, trainable: Trainable, shape: ModelShape): AdapterTensors {
  const { prefix, infix } = plan.tokens;
  return {
    config: (baseModel) =>
      infix === 0
        ? promptConfig(PEFT_TYPE, prefix, sizesOf(shape), baseModel, peftInit(plan.text, baseModel))
        : {
            base_model_name_or_path: baseModel,
            infix_length: infix,
            lowrank_method: NAME,
            prefix_length: prefix,
          },
    write: (values) => new Map([[KEY, values.get(TRAINABLE) as FloatTensor]]),
    read: (tensors, where) => readNamed(new Map([[KEY, trainable]]), tensors, where),
  };
}

/** PEFT insists on a tokenizer's name beside a text. */
function peftInit(text: string | null, baseModel: string | null): Readonly<Record<string, unknown>> {
  const isText = text !== null && baseModel !== null;
  return {
    prompt_tuning_init: isText ? "TEXT" : "RANDOM",
    prompt_tuning_init_text: isText ? text : null,
    tokenizer_kwargs: null,
    tokenizer_name_or_path: isText ? baseModel : null,
  };
}

/** Virtual tokens of one of our own configurations. @throws InputError */
export function ownVirtualTokens(json: Readonly<Record<string, unknown>>, where: string): VirtualTokens {
  const prefix = ownCount(json, "prefix_length", 0, where);
  return { prefix, infix: ownCount(json, "infix_length", prefix === 0 ? 1 : 0, where) };
}

/** Prefix-embedding tuning as a method of the table. */
export const prefixEmbeddingKind: MethodKind = methodKind({
  name: NAME,
  summary: "trainable token embeddings in front of the prompt and after it (prompt tuning)",
  peftType: PEFT_TYPE,
  settings: virtualTokenSettings,
  create: (options, shape) => prefixEmbedding(virtualPlan(options, NAME), shape),
  open: (json, shape, where) => {
    if (json.lowrank_method !== undefined) {
      const tokens = ownVirtualTokens(json, where);
      return { method: prefixEmbedding({ tokens, text: null }, shape), warnings: [] };
    }
    const { count, warnings } = readPromptConfig(json, sizesOf(shape), PEFT_KEYS, where);
    const tokens = { prefix: count, infix: 0 };
    return { method: prefixEmbedding({ tokens, text: null }, shape), warnings };
  },
});

import { InputError, UnsupportedError } from "../../errors.ts";
import { add, linear, reshape, split, tanh } from "../../graph/ops/index.ts";
import type { Value } from "../../graph/value.ts";
import type { ForwardContext } from "../../models/context.ts";
import type { Random } from "../../tensor/random.ts";
import { type FloatTensor, floats, sizeOf } from "../../tensor/tensor.ts";
import { defineMethod, type Method, type MethodInputs, type Trainable } from "../method.ts";
import { type MethodKind, methodKind } from "../method-kind.ts";
import type { ModelShape } from "../model-shape.ts";
import { readNamed } from "./named-tensors.ts";
import { prefixTuningSettings } from "./prefix-options.ts";
import { projectPrefix } from "./prefix-projection.ts";
import { type PromptSizes, promptConfig, readPromptConfig } from "./prompt-config.ts";
import { virtualInit } from "./virtual-init.ts";

const NAME = "prefix-tuning";
const PEFT_TYPE = "PREFIX_TUNING";
const KEY = "prompt_embeddings";
const PEFT_KEYS = ["encoder_hidden_size", "prefix_projection", "init_weights"];

/** The prefix itself, [count, 2·layers·kvWidth]: the keys of layer 0, its values, the keys of layer 1, … (PEFT's order). */
const PREFIX = "prefix";

/** What prefix tuning trains. */
export interface PrefixPlan {
  /** Key-value pairs in front of every sequence. */
  readonly count: number;
  /** Hidden size of the perceptron that makes the prefix while it is trained; null trains the prefix itself. */
  readonly projection: number | null;
  /** Text whose keys and values the prefix starts as; null: those of random tokens. */
  readonly text: string | null;
}

function widthOf({ config }: ModelShape): number {
  return config.kvHeadCount * config.headDim;
}

function sizesOf(shape: ModelShape): PromptSizes {
  return {
    token_dim: widthOf(shape),
    num_layers: shape.config.layerCount,
    num_attention_heads: shape.config.kvHeadCount,
  };
}

/** The keys and values that the base makes of a text, or of random tokens: at the first step the model behaves as if that
 *  stood in front (Li & Liang §7.4 on starting from real words; PEFT draws from N(0, 1), from where training has to find back
 *  to a model that works). */
function prefixInit({ count, text }: PrefixPlan, shape: ModelShape): Trainable["init"] {
  const { layerCount, hiddenSize } = shape.config;
  const width = widthOf(shape);
  const tokens = virtualInit(text, count, shape);
  return async (...from) => {
    const rows = floats(await tokens(...from), [count, hiddenSize]);
    const [, , activations] = from;
    const made = await activations(rows);
    const prefix = new Float32Array(count * 2 * layerCount * width);
    for (let i = 0; i < 2 * layerCount; i++) {
      const { data } = made.get(`layers.${i >> 1}.${i % 2 === 0 ? "keys" : "values"}`) as FloatTensor;
      for (let t = 0; t < count; t++)
        prefix.set(data.subarray(t * width, (t + 1) * width), (t * 2 * layerCount + i) * width);
    }
    return prefix;
  };
}

/** Starting values of the perceptron are PEFT's, which are PyTorch's: embeddings from N(0, 1), linear layers from
 *  U(−1/√in, 1/√in). */
function trainablesOf(plan: PrefixPlan, shape: ModelShape): readonly Trainable[] {
  const { count, projection } = plan;
  const width = widthOf(shape);
  const whole = 2 * shape.config.layerCount * width;
  if (projection === null) return [{ name: PREFIX, shape: [count, whole], init: prefixInit(plan, shape) }];
  const normal = (name: string, size: readonly number[]): Trainable => ({
    name,
    shape: size,
    init: (g) => Float32Array.from({ length: sizeOf(size) }, () => g.normal()),
  });
  const uniform = (name: string, size: readonly number[], inSize: number): Trainable => ({
    name,
    shape: size,
    init: (g) => Float32Array.from({ length: sizeOf(size) }, () => centred(g) / Math.sqrt(inSize)),
  });
  return [
    normal("prefix.tokens", [count, width]),
    uniform("prefix.hidden.weight", [projection, width], width),
    uniform("prefix.hidden.bias", [projection], width),
    uniform("prefix.output.weight", [whole, projection], projection),
    uniform("prefix.output.bias", [whole], projection),
  ];
}

/** Uniform in [−1, 1). */
function centred(generator: Random): number {
  return 2 * generator.uniform() - 1;
}

/** The prefix [count, 2·layers·kvWidth] as a value: E, or tanh(E·W₁ᵀ + b₁)·W₂ᵀ + b₂. */
function prefixValue({ projection }: PrefixPlan, { trainable }: MethodInputs): Value {
  if (projection === null) return trainable(PREFIX);
  const layer = (name: string, x: Value): Value =>
    add(linear(x, trainable(`prefix.${name}.weight`)), trainable(`prefix.${name}.bias`));
  return layer("output", tanh(layer("hidden", trainable("prefix.tokens"))));
}

function wrap(
  plan: PrefixPlan,
  shape: ModelShape,
  ctx: ForwardContext,
  inputs: MethodInputs,
): ForwardContext {
  const [width, layers] = [widthOf(shape), shape.config.layerCount];
  const pieces = split(
    prefixValue(plan, inputs),
    Array.from({ length: 2 * layers }, () => width),
    1,
  ).map((piece) => reshape(piece, [1, plan.count, width]));
  return {
    ...ctx,
    attention: (path, q, k, v, prefix) => {
      if (prefix) throw new UnsupportedError(`${path}: two methods put keys and values in front`);
      const layer = Number(path.split(".")[1]);
      const [keys, values] = pieces.slice(2 * layer, 2 * layer + 2) as [Value, Value];
      return ctx.attention(path, q, k, v, { keys, values });
    },
  };
}

/** Prefix tuning (Li & Liang 2021): trained keys and values in front of those of the sequence, in every layer. They take the
 *  first `count` positions, as transformers counts a cache. Optionally made by a perceptron while training (§4.3 there); the
 *  adapter holds the prefix that it makes, as PEFT saves it. |Θ| = 2·L·kvWidth·count without it. */
export function prefixTuning(plan: PrefixPlan, shape: ModelShape): Method {
  const trainables = trainablesOf(plan, shape);
  const own =
    plan.projection === null
      ? { encoder_hidden_size: widthOf(shape), init_weights: null, prefix_projection: false }
      : { encoder_hidden_size: plan.projection, init_weights: null, prefix_projection: true };
  return defineMethod({
    name: NAME,
    trainables,
    positionOffset: plan.count,
    wrap: (ctx, inputs) => wrap(plan, shape, ctx, inputs),
    merging: "its keys and values are part of the attention's memory, and no weight holds them",
    files: {
      config: (baseModel) => promptConfig(PEFT_TYPE, plan.count, sizesOf(shape), baseModel, own),
      write: (values) =>
        new Map([
          [KEY, plan.projection === null ? (values.get(PREFIX) as FloatTensor) : projectPrefix(values)],
        ]),
      read: (tensors, where) => {
        if (plan.projection !== null)
          throw new UnsupportedError(`${where}: holds the prefix, not the perceptron that made it`);
        return readNamed(new Map([[KEY, trainables[0] as Trainable]]), tensors, where);
      },
    },
    structure: JSON.stringify([NAME, plan.count, plan.projection]),
  });
}

/** Prefix tuning as a method of the table. */
export const prefixTuningKind: MethodKind = methodKind({
  name: NAME,
  summary: "trainable keys and values in front of every layer's attention",
  peftType: PEFT_TYPE,
  settings: prefixTuningSettings,
  create: (options, shape) => {
    const { prefixLength: count, prefixProjection: projection, prefixText: text } = options;
    if (count > 0) return prefixTuning({ count, projection, text }, shape);
    throw new InputError(`${NAME} needs a prefix`, [
      { where: "prefixLength", message: `expected at least 1, got ${count}` },
    ]);
  },
  open: (json, shape, where) => {
    const { count, warnings } = readPromptConfig(json, sizesOf(shape), PEFT_KEYS, where);
    return { method: prefixTuning({ count, projection: null, text: null }, shape), warnings };
  },
});

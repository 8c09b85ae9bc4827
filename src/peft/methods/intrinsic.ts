import { InputError } from "../../errors.ts";
import type { LoraConfig } from "../../formats/peft/config.ts";
import { readIntrinsicConfig, targetKeys } from "../../formats/peft/relatives.ts";
import { add, linear, reshape } from "../../graph/ops/index.ts";
import { constant, input, type Value } from "../../graph/value.ts";
import type { ForwardContext } from "../../models/context.ts";
import { type SettingsOf, setting } from "../../options/setting.ts";
import { count } from "../../options/values.ts";
import type { FloatTensor, Tensor } from "../../tensor/tensor.ts";
import {
  type AdapterTensors,
  defineMethod,
  type Merging,
  type Method,
  type MethodInputs,
  type Trainable,
} from "../method.ts";
import { type MethodKind, methodKind } from "../method-kind.ts";
import type { ModelShape } from "../model-shape.ts";
import { blockCount, blockKeys, fastfood, type Projection } from "./fastfood.ts";
import { type LoraModule, planLora } from "./lora-plan.ts";
import { readNamed } from "./named-tensors.ts";
import { requirePlain } from "./plain-modules.ts";
import { ADAPTER, type TargetOptions, targetConfig, targetSettings } from "./target-options.ts";

/** What is trained, and in how many dimensions. */
interface IntrinsicConfig {
  /** The choice of modules; LoRA's other settings do not apply. */
  readonly targets: LoraConfig;
  /** d. */
  readonly dimension: number;
}

const NAME = "intrinsic";
/** During a step: the update of a weight, and the random diagonal behind it. */
const BYTES_PER_WEIGHT = 8;
const THETA = "intrinsic.theta";
const SEED = "intrinsic.seed";

const weightCount = (m: LoraModule): number => m.outSize * m.inSize;

/** θ_d, zero at first, and the seed of P, a whole number that a float holds. */
function intrinsicTrainables(dimension: number): Trainable[] {
  return [
    { name: THETA, shape: [dimension], init: () => new Float32Array(dimension) },
    { name: SEED, shape: [1], init: (g) => Float32Array.of(g.uint32() >>> 8), fixed: true },
  ];
}

const keysOf = (m: LoraModule, dimension: number): Tensor =>
  blockKeys(m.path, blockCount(weightCount(m), dimension));

/** The part of P·θ_d that a weight gets, [out, in]. `keys`: of its blocks. */
function updateOf(m: LoraModule, project: Projection, keys: Value): Value {
  return reshape(project(keys, weightCount(m)), [m.outSize, m.inSize]);
}

function intrinsicContext(
  modules: readonly LoraModule[],
  dimension: number,
  ctx: ForwardContext,
  inputs: MethodInputs,
): ForwardContext {
  const adapted = new Map(modules.map((m) => [m.path, m]));
  const project = fastfood(inputs.trainable(THETA), inputs.trainable(SEED));
  const update = (m: LoraModule): Value => updateOf(m, project, constant(keysOf(m, dimension)));
  return {
    ...ctx,
    // Beside the frozen product: so a quantized weight need not be formed, and θ_d = 0 is the base, bit for bit.
    linear: (path, x) => {
      const m = adapted.get(path);
      return m ? add(ctx.linear(path, x), linear(x, update(m))) : ctx.linear(path, x);
    },
    // DoRA on top takes its norms of these.
    linearWeights: (path) => {
      const { weight, bias } = ctx.linearWeights(path);
      const m = adapted.get(path);
      return { weight: m ? add(weight, update(m)) : weight, bias };
    },
  };
}

function intrinsicMerging(modules: readonly LoraModule[], dimension: number): Merging {
  const adapted = new Map(modules.map((m) => [`${m.path}.weight`, m]));
  return {
    paths: [...adapted.keys()],
    read: async (path, { base, trained, compute }) => {
      const m = adapted.get(path) as LoraModule;
      const keys = keysOf(m, dimension);
      const build = (): Value => {
        const project = fastfood(input("theta", "float32", [dimension]), input("seed", "float32", [1]));
        const w = input("w", "float32", [m.outSize, m.inSize]);
        return add(w, updateOf(m, project, input("keys", "int32", keys.shape)));
      };
      const key = `${NAME} ${dimension} ${m.outSize} ${m.inSize}`;
      const [theta, seed, w] = [trained(THETA), trained(SEED), await base(path)];
      return compute.run(key, build, { w, theta, seed, keys });
    },
  };
}

function intrinsicFiles(
  { targets, dimension }: IntrinsicConfig,
  modules: readonly LoraModule[],
  trainables: readonly Trainable[],
): AdapterTensors {
  const places = new Map(trainables.map((t) => [t.name, t]));
  const names = modules.map((m) => m.name);
  return {
    config: (baseModel) => ({
      ...targetKeys(targets, baseModel, names),
      intrinsic_dimension: dimension,
      lowrank_method: NAME,
    }),
    write: (values) => new Map([...places.keys()].map((key) => [key, values.get(key) as FloatTensor])),
    read: (tensors, where) => {
      const values = readNamed(places, tensors, where);
      requireSeed(values.get(SEED)?.data[0] as number, where);
      return values;
    },
  };
}

/** @throws InputError for what is no whole number below 2²⁴ */
function requireSeed(seed: number, where: string): void {
  if (Number.isInteger(seed) && seed >= 0 && seed < 2 ** 24) return;
  throw new InputError(`${where}: the adapter does not hold`, [
    { where: SEED, message: `expected a whole number from 0 to ${2 ** 24 - 1}, got ${seed}` },
  ]);
}

/** @throws InputError for more dimensions than there are weights */
function requireFewer(dimension: number, weights: number): void {
  if (dimension <= weights) return;
  const message = `expected at most ${weights}, the number of adapted weights, got ${dimension}`;
  throw new InputError(`${NAME} does not fit this model`, [{ where: "intrinsicDimension", message }]);
}

/** θ = θ₀ + P·θ_d (Li et al. 2018, arXiv 1804.08838; Aghajanyan et al. 2020, arXiv 2012.13255): d trained numbers in all, which a
 *  random projection P, drawn once and not stored, carries to every weight of the chosen modules.
 *  @throws InputError if the configuration does not fit the model */
function intrinsic(config: IntrinsicConfig, { config: { family }, modules: specs }: ModelShape): Method {
  const { targets, dimension } = config;
  const { modules } = planLora(targets, family, specs);
  requirePlain(NAME, targets, modules);
  const weights = modules.reduce((n, m) => n + weightCount(m), 0);
  requireFewer(dimension, weights);
  const trainables = intrinsicTrainables(dimension);
  return defineMethod({
    name: NAME,
    trainables,
    startsAtZero: new Map([[THETA, `${NAME} (${dimension} numbers)`]]),
    stepBytes: BYTES_PER_WEIGHT * weights,
    wrap: (ctx, inputs) => intrinsicContext(modules, dimension, ctx, inputs),
    merging: intrinsicMerging(modules, dimension),
    files: intrinsicFiles(config, modules, trainables),
    structure: JSON.stringify([NAME, dimension, modules.map((m) => m.path)]),
  });
}

/** Options of training in few dimensions. */
export interface IntrinsicOptions extends TargetOptions {
  /** d: how many numbers are trained in all. */
  readonly intrinsicDimension: number;
}

const settings: SettingsOf<IntrinsicOptions> = {
  ...targetSettings,
  intrinsicDimension: setting(count, 1000, {
    group: ADAPTER,
    value: "d",
    description: "intrinsic: how many numbers are trained in all",
  }),
};

/** Training in few dimensions as a method of the table. */
export const intrinsicKind: MethodKind = methodKind({
  name: NAME,
  summary: "few numbers in all, which a random projection carries to every weight",
  peftType: null,
  settings,
  create: (options, shape, use) =>
    intrinsic(
      { targets: targetConfig(options, shape, use, {}), dimension: options.intrinsicDimension },
      shape,
    ),
  open: (json, shape, where) => {
    const { own, targets, warnings } = readIntrinsicConfig(json, where);
    return { method: intrinsic({ targets, dimension: own.dimension }, shape), warnings };
  },
});

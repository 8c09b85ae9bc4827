import type { LoraFactors } from "../../formats/lora-factors.ts";
import type { LoraConfig } from "../../formats/peft/config.ts";
import { add, dropout, gather, linear, scale, transpose } from "../../graph/ops/index.ts";
import { known, type Value } from "../../graph/value.ts";
import type { ForwardContext } from "../../models/context.ts";
import { type ModuleSpec, moduleWeights } from "../../models/family.ts";
import type { Random } from "../../tensor/random.ts";
import type { FloatTensor } from "../../tensor/tensor.ts";
import { defineMethod, type Method, type MethodInputs, type Trainable } from "../method.ts";
import { doraEmbedding, doraLinear, magnitudeTrainable } from "./dora-forward.ts";
import { loraFiles } from "./lora-files.ts";
import { type Branch, joinedBranches } from "./lora-joined.ts";
import { loraMerging } from "./lora-merging.ts";
import { type LoraModule, type LoraPlan, planLora } from "./lora-plan.ts";

/** LoRA of a model: the method and what it adapts. */
export interface Lora extends Method {
  readonly config: LoraConfig;
  readonly plan: LoraPlan;
}

/** Variance of A's elements is 1/(3·d_in) in both, so that learning rates carry over. `gaussian` is the paper's (LoRA §4.1),
 *  `kaiming-uniform` what its code and PEFT do: U(−1/√d_in, 1/√d_in). */
function initA(init: LoraConfig["init"], m: LoraModule, generator: Random): Float32Array {
  const bound = 1 / Math.sqrt(m.inSize);
  const draw =
    init === "gaussian"
      ? () => generator.normal() * (bound / Math.sqrt(3))
      : () => (2 * generator.uniform() - 1) * bound;
  return Float32Array.from({ length: m.rank * m.inSize }, draw);
}

/** A embedding's factors start the other way round (PEFT: A zero, B standard normal); the product is zero all the same. */
function factorTrainables(config: LoraConfig, m: LoraModule): Trainable[] {
  const zero = (n: number): Float32Array => new Float32Array(n);
  const embedding = m.kind === "embedding";
  return [
    {
      name: `${m.path}.loraA`,
      shape: [m.rank, m.inSize],
      init: (g) => (embedding ? zero(m.rank * m.inSize) : initA(config.init, m, g)),
    },
    {
      name: `${m.path}.loraB`,
      shape: [m.outSize, m.rank],
      init: (g) =>
        embedding
          ? Float32Array.from({ length: m.outSize * m.rank }, () => g.normal())
          : zero(m.outSize * m.rank),
    },
    ...(m.hasBias ? [{ name: `${m.path}.loraBias`, shape: [m.outSize], init: () => zero(m.outSize) }] : []),
    ...(config.dora ? [magnitudeTrainable(m)] : []),
  ];
}

function baseTrainable(path: string, shape: readonly number[], from: string = path): Trainable {
  return { name: path, shape, init: async (_g, base) => (await base(from)).data };
}

function savedTrainables(m: ModuleSpec): Trainable[] {
  const own = moduleWeights(m).map((w) => baseTrainable(w.path, w.shape));
  if (m.kind !== "linear" || !m.tiedTo) return own;
  // Trained by itself, a tied output layer becomes a weight of its own that starts as the embedding.
  return [baseTrainable(`${m.path}.weight`, [m.outSize, m.inSize], `${m.tiedTo}.weight`), ...own];
}

function planTrainables(config: LoraConfig, plan: LoraPlan, modules: readonly ModuleSpec[]): Trainable[] {
  const whole = new Map(plan.saved.flatMap(savedTrainables).map((t) => [t.name, t]));
  const specs = new Map(modules.flatMap(moduleWeights).map((w) => [w.path, w]));
  const biases = plan.biases
    .filter((path) => !whole.has(path))
    .map((path) => baseTrainable(path, specs.get(path)?.shape as readonly number[]));
  return [...plan.modules.flatMap((m) => factorTrainables(config, m)), ...whole.values(), ...biases];
}

function wrapContext(
  config: LoraConfig,
  plan: LoraPlan,
  ctx: ForwardContext,
  inputs: MethodInputs,
): ForwardContext {
  const adapted = new Map(plan.modules.map((m) => [m.path, m]));
  const savedEmbeddings = new Set(plan.saved.filter((m) => m.kind === "embedding").map((m) => m.path));
  const factors = (path: string): [Value, Value] => [
    inputs.trainable(`${path}.loraA`),
    inputs.trainable(`${path}.loraB`),
  ];
  const branchOf = (path: string): Branch => {
    const m = adapted.get(path);
    const outSize = known(ctx.linearWeights(path).weight.shape[0], path);
    if (!m) return { outSize, factors: null };
    const [a, b] = factors(path);
    return { outSize, factors: { a, b, scaling: m.scaling } };
  };
  const magnitude = (path: string): Value => inputs.trainable(`${path}.magnitude`);
  return {
    ...ctx,
    // h = W0·x + s·(B·A·x + b) (LoRA §4.1; b is PEFT's lora_bias), dropout on the branch's input while training
    linear: (path, x) => {
      const m = adapted.get(path);
      if (!m) return ctx.linear(path, x);
      const [a, b] = factors(path);
      const branch = inputs.noise ? dropout(x, config.dropout, inputs.noise, path) : x;
      if (plan.dora) return doraLinear(ctx, m, x, branch, { a, b, magnitude: magnitude(path) });
      const update = linear(linear(branch, a), b, m.scaling);
      const bias = m.hasBias ? scale(inputs.trainable(`${path}.loraBias`), m.scaling) : null;
      return add(ctx.linear(path, x), bias ? add(update, bias) : update);
    },
    joined: (paths, x) => {
      if (!paths.some((path) => adapted.has(path))) return ctx.joined(paths, x);
      if (plan.dora || inputs.noise || paths.some((path) => adapted.get(path)?.hasBias)) return null;
      const y = ctx.joined(paths, x);
      const update = y && joinedBranches(paths.map(branchOf), x);
      return update && add(y, update);
    },
    embedding: (path, ids) => {
      if (savedEmbeddings.has(path)) return gather(inputs.trainable(`${path}.weight`), ids);
      const m = adapted.get(path);
      if (!m) return ctx.embedding(path, ids);
      const [a, b] = factors(path);
      const update = scale(linear(gather(transpose(a, [1, 0]), ids), b), m.scaling);
      const h = add(ctx.embedding(path, ids), update);
      return plan.dora ? doraEmbedding(ctx, m, h, { a, b, magnitude: magnitude(path) }) : h;
    },
  };
}

function planFactors({ modules }: LoraPlan, trained: (name: string) => FloatTensor): LoraFactors[] {
  return modules.map(({ path, kind, scaling }) => {
    return { path, kind, a: trained(`${path}.loraA`), b: trained(`${path}.loraB`), scaling };
  });
}

/** LoRA (Hu et al. 2021) of a model, and DoRA (Liu et al. 2024) where the configuration says so. @throws InputError if the configuration does not fit the model. */
export function lora(config: LoraConfig, family: string, modules: readonly ModuleSpec[]): Lora {
  return loraOfPlan(config, planLora(config, family, modules), family, modules);
}

/** Whether a method is LoRA without further parts, whose update is a sum of products. */
export function isPlainLora(method: Method): method is Lora {
  return method.name === "lora" && "plan" in method;
}

/** LoRA of what a plan says; of the configuration only what is no matter of single modules counts. */
export function loraOfPlan(
  config: LoraConfig,
  plan: LoraPlan,
  family: string,
  modules: readonly ModuleSpec[],
): Lora {
  const trainables = planTrainables(config, plan, modules);
  // A saved embedding is used by the embedding alone (PEFT): a tied output layer keeps the frozen weight.
  const embeddings = new Set(plan.saved.filter((m) => m.kind === "embedding").map((m) => `${m.path}.weight`));
  const replaced = new Set(trainables.map((t) => t.name).filter((n) => !embeddings.has(n)));
  const merging = loraMerging(plan, trainables, new Set(modules.flatMap(moduleWeights).map((w) => w.path)));
  const method = defineMethod({
    notices: typeof merging === "string" ? [`the adapter cannot be merged into this model: ${merging}`] : [],
    name: config.dora ? "dora" : "lora",
    trainables,
    startsAtZero: new Map(
      plan.modules.map((m) => [`${m.path}.${m.kind === "embedding" ? "loraA" : "loraB"}`, m.name]),
    ),
    replace: (path, inputs) => (replaced.has(path) ? inputs.trainable(path) : null),
    wrap: (ctx, inputs) => wrapContext(config, plan, ctx, inputs),
    merging,
    // DoRA's update is scaled to the magnitude of a sum with the base.
    factors: (trained) => (config.dora ? null : planFactors(plan, trained)),
    files: loraFiles(config, plan, trainables, family, modules),
    structure: JSON.stringify(["lora", plan]),
  });
  return { ...method, config, plan };
}

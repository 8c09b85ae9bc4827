import { InputError } from "../../errors.ts";
import { isTransposed } from "../../formats/names.ts";
import type { LoraConfig } from "../../formats/peft/config.ts";
import { readAdaLoraConfig, targetKeys } from "../../formats/peft/relatives.ts";
import {
  add,
  dropout,
  linear,
  matmul,
  mul,
  reshape,
  scale,
  sqrt,
  square,
  sub,
  sumAll,
  total,
} from "../../graph/ops/index.ts";
import { constant, input, type Value } from "../../graph/value.ts";
import type { ForwardContext } from "../../models/context.ts";
import { type FloatTensor, floats, scalar } from "../../tensor/tensor.ts";
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
import { budgetTrainables, budgetUpdate, type TripletNames } from "./adalora-budget.ts";
import { type AdaLoraOptions, adaLoraSettings } from "./adalora-options.ts";
import { type LoraModule, planLora } from "./lora-plan.ts";
import { type NamedShape, readNamed } from "./named-tensors.ts";
import { requirePlain } from "./plain-modules.ts";
import { rowsTimes } from "./scaled-rows.ts";
import { targetConfig } from "./target-options.ts";

/** What an AdaLoRA adapter is made of. */
interface AdaLora {
  /** Modules, first rank, alpha and dropout; LoRA's other settings do not apply. */
  readonly lora: LoraConfig;
  readonly targetRank: number;
  /** With the triplets that each has. */
  readonly modules: readonly LoraModule[];
  readonly scaling: number;
}

function namesOf({ path }: LoraModule): TripletNames {
  return { a: `${path}.adaloraA`, b: `${path}.adaloraB`, e: `${path}.adaloraE` };
}

/** PEFT's start: A and B normal with deviation 0.02, E zero. */
function tripletTrainables(m: LoraModule): Trainable[] {
  const { a, b, e } = namesOf(m);
  const vectors = (name: string, shape: readonly [number, number]): Trainable => ({
    name,
    shape,
    init: (g) => Float32Array.from({ length: shape[0] * shape[1] }, () => 0.02 * g.normal()),
  });
  return [
    vectors(a, [m.rank, m.inSize]),
    vectors(b, [m.outSize, m.rank]),
    { name: e, shape: [m.rank, 1], init: () => new Float32Array(m.rank) },
  ];
}

/** h = W·x + s·B·(E ∘ A·x), s = alpha / first rank, however many triplets are left. */
function adaLoraContext(config: AdaLora, ctx: ForwardContext, inputs: MethodInputs): ForwardContext {
  const adapted = new Map(config.modules.map((m) => [m.path, m]));
  return {
    ...ctx,
    linear: (path, x) => {
      const m = adapted.get(path);
      if (!m) return ctx.linear(path, x);
      const { a, b, e } = namesOf(m);
      const dropped = inputs.noise ? dropout(x, config.lora.dropout, inputs.noise, path) : x;
      const down = mul(linear(dropped, inputs.trainable(a)), reshape(inputs.trainable(e), [m.rank]));
      return add(ctx.linear(path, x), linear(down, inputs.trainable(b), config.scaling));
    },
  };
}

function identity(size: number): Value {
  const data = Float32Array.from({ length: size * size }, (_, i) => (i % (size + 1) === 0 ? 1 : 0));
  return constant(floats(data, [size, size]));
}

/** Mean over all A and B of ‖A·Aᵀ − I‖ and ‖Bᵀ·B − I‖ (AdaLoRA eq. 4; the norms not squared, as in PEFT). */
function orthogonality(modules: readonly LoraModule[], weight: number, inputs: MethodInputs): Value | null {
  if (weight === 0) return null;
  const norms = modules.flatMap((m) => {
    const [a, b] = [inputs.trainable(namesOf(m).a), inputs.trainable(namesOf(m).b)];
    const grams = [matmul(a, a, { transB: true }), matmul(b, b, { transA: true })];
    return grams.map((gram) => sqrt(sumAll(square(sub(gram, identity(m.rank))))));
  });
  return scale(total(norms), weight / norms.length);
}

/** W + s·B·(E ∘ A). */
function foldedWeight(): Value {
  const a = mul(input("a", "float32", ["r", "in"]), input("e", "float32", ["r", 1]));
  const delta = matmul(input("b", "float32", ["out", "r"]), a);
  return add(input("w", "float32", ["out", "in"]), mul(delta, input("scaling", "float32", [])));
}

function adaLoraMerging({ modules, scaling }: AdaLora): Merging {
  const adapted = new Map(modules.map((m) => [`${m.path}.weight`, m]));
  return {
    paths: [...adapted.keys()],
    read: async (path, { base, trained, compute }) => {
      const { a, b, e } = namesOf(adapted.get(path) as LoraModule);
      return compute.run("adalora", foldedWeight, {
        w: await base(path),
        a: trained(a),
        b: trained(b),
        e: trained(e),
        scaling: scalar(scaling),
      });
    },
  };
}

/** AdaLoRA in PEFT's files: all triplets, those that were dropped with a singular value of 0. PEFT refuses a configuration
 *  without a schedule, although nothing of it counts any more: the shortest one is written. */
function adaLoraFiles(config: AdaLora, state: readonly Trainable[], fanInFanOut: boolean): AdapterTensors {
  const { lora, modules, targetRank } = config;
  const places = new Map(
    modules.flatMap((m): [string, NamedShape][] => {
      const shapes = tripletTrainables(m) as [Trainable, Trainable, Trainable];
      return (["A", "B", "E"] as const).map((x, i) => [
        `base_model.model.${m.name}.lora_${x}`,
        shapes[i] as Trainable,
      ]);
    }),
  );
  return {
    config: (baseModel) => ({
      peft_type: "ADALORA",
      ...targetKeys(
        lora,
        baseModel,
        modules.map((m) => m.name),
      ),
      init_r: lora.rank,
      target_r: targetRank,
      lora_alpha: lora.alpha,
      lora_dropout: lora.dropout,
      fan_in_fan_out: fanInFanOut,
      rank_pattern: null,
      ...{ tinit: 0, tfinal: 0, deltaT: 1, total_step: 1 },
    }),
    write: (values) =>
      new Map([...places].map(([key, { name }]) => [key, values.get(name) as FloatTensor] as const)),
    read: (tensors, where) => {
      // Modules of which no triplet is left have empty tensors.
      const filled = new Map([...tensors].filter(([, { data }]) => data.length > 0));
      const values = readNamed(places, filled, where);
      for (const { name, shape } of state)
        values.set(
          name,
          floats(new Float32Array(shape[0] as number).fill(name.endsWith("mask") ? 1 : 0), shape),
        );
      return values;
    },
  };
}

/** AdaLoRA (Zhang et al. 2023, arXiv 2303.10512) of a model. `training`: what chooses the ranks; null for an adapter that is
 *  only used. */
function adaLora(config: AdaLora, family: string, training: AdaLoraOptions | null): Method {
  const { modules, scaling } = config;
  const triplets = modules.flatMap(tripletTrainables);
  const first = modules.reduce((n, m) => n + m.rank, 0);
  const budget = { first, target: config.targetRank * modules.length };
  const state = training ? budgetTrainables(triplets, first) : [];
  return defineMethod({
    name: "adalora",
    trainables: [...triplets, ...state],
    startsAtZero: new Map(modules.map((m) => [namesOf(m).e, m.name])),
    wrap: (ctx, inputs) => adaLoraContext(config, ctx, inputs),
    penalty: (inputs) => (training ? orthogonality(modules, training.orthogonality, inputs) : null),
    afterUpdate: training ? budgetUpdate(modules.map(namesOf), training, budget) : null,
    merging: adaLoraMerging(config),
    factors: (trained) =>
      modules.map((m) => {
        const { a, b, e } = namesOf(m);
        return { path: m.path, kind: m.kind, a: rowsTimes(trained(a), trained(e)), b: trained(b), scaling };
      }),
    files: adaLoraFiles(
      config,
      state,
      modules.some((m) => isTransposed(family, m.path)),
    ),
    structure: JSON.stringify(["adalora", modules, config.scaling, training !== null]),
  });
}

/** PEFT's scaling: alpha / (rank + 10⁻⁵). */
function scalingOf(lora: LoraConfig): number {
  return (lora.alpha > 0 ? lora.alpha : lora.rank) / (lora.rank + 1e-5);
}

function create(lora: LoraConfig, options: AdaLoraOptions, shape: ModelShape): Method {
  const { family } = shape.config;
  const { modules } = planLora(lora, family, shape.modules);
  requirePlain("adalora", lora, modules);
  const targetRank = options.targetRank ?? Math.max(1, Math.floor(lora.rank / 2));
  if (targetRank > lora.rank) {
    const message = `expected at most the rank, ${lora.rank}, got ${targetRank}`;
    throw new InputError("adalora does not fit these options", [{ where: "targetRank", message }]);
  }
  return adaLora({ lora, targetRank, modules, scaling: scalingOf(lora) }, family, options);
}

/** AdaLoRA as a method of the table. */
export const adaLoraKind: MethodKind = methodKind({
  name: "adalora",
  summary: "LoRA as singular triplets, of which the unimportant are dropped while it trains",
  peftType: "ADALORA",
  settings: adaLoraSettings,
  create: (options, shape, use) => {
    const { rank, alpha, dropout: rate } = options;
    return create(targetConfig(options, shape, use, { rank, alpha, dropout: rate }), options, shape);
  },
  open: (json, shape, where) => {
    const { own, targets, warnings } = readAdaLoraConfig(json, where);
    const { initialRank: rank, alpha, dropout: rate, targetRank, kept } = own;
    const lora = { ...targets, rank, alpha, dropout: rate };
    const { family } = shape.config;
    const all = planLora(lora, family, shape.modules).modules;
    requirePlain("adalora", lora, all);
    const left = (m: LoraModule): number =>
      kept?.[`${m.name}.lora_E`]?.reduce((n, is) => n + (is ? 1 : 0), 0) ?? rank;
    const modules = all.map((m) => ({ ...m, rank: left(m) })).filter((m) => m.rank > 0);
    return {
      method: adaLora({ lora, targetRank, modules, scaling: scalingOf(lora) }, family, null),
      warnings,
    };
  },
});

import { UnsupportedError } from "../../errors.ts";
import { isTransposed } from "../../formats/names.ts";
import type { LoraConfig } from "../../formats/peft/config.ts";
import { readVeraConfig, targetKeys } from "../../formats/peft/relatives.ts";
import { add, dropout, linear, matmul, mul, slice } from "../../graph/ops/index.ts";
import { input, type Value } from "../../graph/value.ts";
import type { ForwardContext } from "../../models/context.ts";
import { type SettingsOf, setting } from "../../options/setting.ts";
import { positive } from "../../options/values.ts";
import type { Random } from "../../tensor/random.ts";
import { type FloatTensor, floats } from "../../tensor/tensor.ts";
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
import { type LoraOptions, loraSettings } from "./lora-options.ts";
import { type LoraModule, planLora } from "./lora-plan.ts";
import { type NamedShape, readNamed } from "./named-tensors.ts";
import { requirePlain } from "./plain-modules.ts";
import { rowsTimes } from "./scaled-rows.ts";
import { ADAPTER, type TargetOptions, targetConfig, targetSettings } from "./target-options.ts";

/** What a VeRA adapter is made of. */
interface VeraConfig {
  /** Modules, rank and dropout; LoRA's other settings do not apply. */
  readonly lora: LoraConfig;
  /** Starting value of d. */
  readonly dInitial: number;
}

const A = "vera.A";
const B = "vera.B";
const dName = (path: string): string => `${path}.veraD`;
const bName = (path: string): string => `${path}.veraB`;

/** U(−√(6/fan_in), √(6/fan_in)) (Kaiming), as PEFT draws the projections. */
function projection(name: string, shape: readonly [number, number]): Trainable {
  const bound = Math.sqrt(6 / shape[1]);
  const init = (g: Random): Float32Array =>
    Float32Array.from({ length: shape[0] * shape[1] }, () => (2 * g.uniform() - 1) * bound);
  return { name, shape, init, fixed: true };
}

function veraTrainables(modules: readonly LoraModule[], rank: number, dInitial: number): Trainable[] {
  const largest = (size: (m: LoraModule) => number): number => Math.max(...modules.map(size));
  return [
    projection(A, [rank, largest((m) => m.inSize)]),
    projection(B, [largest((m) => m.outSize), rank]),
    ...modules.flatMap((m): Trainable[] => [
      { name: dName(m.path), shape: [rank], init: () => new Float32Array(rank).fill(dInitial) },
      { name: bName(m.path), shape: [m.outSize], init: () => new Float32Array(m.outSize) },
    ]),
  ];
}

/** h = W·x + b ∘ B·(d ∘ A·x): A and B random, frozen and shared by all modules, each of which uses a part of them. */
function veraContext(
  modules: readonly LoraModule[],
  rate: number,
  ctx: ForwardContext,
  inputs: MethodInputs,
): ForwardContext {
  const adapted = new Map(modules.map((m) => [m.path, m]));
  const part = (name: string, axis: number, size: number): Value =>
    slice(inputs.trainable(name), axis, 0, size);
  return {
    ...ctx,
    linear: (path, x) => {
      const m = adapted.get(path);
      if (!m) return ctx.linear(path, x);
      const dropped = inputs.noise ? dropout(x, rate, inputs.noise, path) : x;
      const down = mul(linear(dropped, part(A, 1, m.inSize)), inputs.trainable(dName(path)));
      const up = mul(linear(down, part(B, 0, m.outSize)), inputs.trainable(bName(path)));
      return add(ctx.linear(path, x), up);
    },
  };
}

/** W + (b ∘ B)·(d ∘ A). */
function foldedWeight(): Value {
  const w = input("w", "float32", ["out", "in"]);
  const b = mul(input("b", "float32", ["out", "r"]), input("scaleB", "float32", ["out", 1]));
  return add(w, matmul(b, mul(input("a", "float32", ["r", "in"]), input("scaleD", "float32", ["r", 1]))));
}

/** The parts of the shared projections that a module uses: a [rank, in], b [out, rank]. */
function projections(
  m: LoraModule,
  rank: number,
  trained: (name: string) => FloatTensor,
): { readonly a: FloatTensor; readonly b: FloatTensor } {
  const whole = trained(A);
  const width = whole.shape[1] as number;
  const a = Float32Array.from({ length: rank * m.inSize }, (_, i) => {
    return whole.data[Math.floor(i / m.inSize) * width + (i % m.inSize)] as number;
  });
  const b = trained(B).data.slice(0, m.outSize * rank);
  return { a: floats(a, [rank, m.inSize]), b: floats(b, [m.outSize, rank]) };
}

function veraMerging(modules: readonly LoraModule[], rank: number): Merging {
  const adapted = new Map(modules.map((m) => [`${m.path}.weight`, m]));
  return {
    paths: [...adapted.keys()],
    read: async (path, { base, trained, compute }) => {
      const m = adapted.get(path) as LoraModule;
      return compute.run("vera", foldedWeight, {
        w: await base(path),
        ...projections(m, rank, trained),
        scaleD: floats(trained(dName(m.path)).data, [rank, 1]),
        scaleB: floats(trained(bName(m.path)).data, [m.outSize, 1]),
      });
    },
  };
}

/** VeRA in PEFT's files, with the projections (`save_projection`). */
function veraFiles(
  { lora, dInitial }: VeraConfig,
  modules: readonly LoraModule[],
  trainables: readonly Trainable[],
  fanInFanOut: boolean,
): AdapterTensors {
  const shapes = new Map(trainables.map((t): [string, NamedShape] => [t.name, t]));
  const place = (key: string, name: string): [string, NamedShape] => [key, shapes.get(name) as NamedShape];
  const places = new Map([
    place("base_model.vera_A", A),
    place("base_model.vera_B", B),
    ...modules.flatMap((m) => [
      place(`base_model.model.${m.name}.vera_lambda_b`, bName(m.path)),
      place(`base_model.model.${m.name}.vera_lambda_d`, dName(m.path)),
    ]),
  ]);
  return {
    config: (baseModel) => ({
      peft_type: "VERA",
      ...targetKeys(
        lora,
        baseModel,
        modules.map((m) => m.name),
      ),
      r: lora.rank,
      vera_dropout: lora.dropout,
      d_initial: dInitial,
      fan_in_fan_out: fanInFanOut,
      projection_prng_key: 0,
      save_projection: true,
    }),
    write: (values) =>
      new Map([...places].map(([key, { name }]) => [key, values.get(name) as FloatTensor] as const)),
    read: (tensors, where) => readNamed(places, tensors, where),
  };
}

/** VeRA (Kopiczko et al. 2023, arXiv 2310.11454) of a model. Trains rank + d_out numbers of each module.
 *  @throws InputError if the configuration does not fit the model */
function vera(config: VeraConfig, { config: { family }, modules: specs }: ModelShape): Method {
  const { modules } = planLora(config.lora, family, specs);
  requirePlain("vera", config.lora, modules);
  const { rank, dropout: rate } = config.lora;
  const trainables = veraTrainables(modules, rank, config.dInitial);
  return defineMethod({
    name: "vera",
    trainables,
    startsAtZero: new Map(modules.map((m) => [bName(m.path), m.name])),
    wrap: (ctx, inputs) => veraContext(modules, rate, ctx, inputs),
    merging: veraMerging(modules, rank),
    factors: (trained) =>
      modules.map((m) => {
        const { a, b } = projections(m, rank, trained);
        const [scaledA, scaledB] = [
          rowsTimes(a, trained(dName(m.path))),
          rowsTimes(b, trained(bName(m.path))),
        ];
        return { path: m.path, kind: m.kind, a: scaledA, b: scaledB, scaling: 1 };
      }),
    files: veraFiles(
      config,
      modules,
      trainables,
      modules.some((m) => isTransposed(family, m.path)),
    ),
    structure: JSON.stringify(["vera", rank, modules]),
  });
}

/** Options of VeRA. */
export interface VeraOptions extends TargetOptions, Pick<LoraOptions, "rank" | "dropout"> {
  /** First value of d. */
  readonly veraInitial: number;
}

const settings: SettingsOf<VeraOptions> = {
  ...targetSettings,
  rank: loraSettings.rank,
  dropout: loraSettings.dropout,
  veraInitial: setting(positive, 0.1, {
    group: ADAPTER,
    value: "x",
    description: "vera: first value of the vector between the projections",
    knownAs: ["dInitial"],
  }),
};

/** VeRA as a method of the table. */
export const veraKind: MethodKind = methodKind({
  name: "vera",
  summary: "vectors that scale random projections shared by all modules",
  peftType: "VERA",
  settings,
  create: (options, shape, use) => {
    const { rank, dropout, veraInitial: dInitial } = options;
    return vera({ lora: targetConfig(options, shape, use, { rank, dropout }), dInitial }, shape);
  },
  open: (json, shape, where) => {
    const { own, targets, warnings } = readVeraConfig(json, where);
    if (!own.hasProjections)
      throw new UnsupportedError(
        `${where}: its projections are not saved (save_projection: false), and only PyTorch can draw them again`,
      );
    const lora = { ...targets, rank: own.rank, dropout: own.dropout };
    return { method: vera({ lora, dInitial: own.dInitial }, shape), warnings };
  },
});

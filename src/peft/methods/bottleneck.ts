import { z } from "zod";
import { InputError } from "../../errors.ts";
import { add, layerNorm, linear, relu } from "../../graph/ops/index.ts";
import type { Value } from "../../graph/value.ts";
import { type SettingsOf, setting } from "../../options/setting.ts";
import { width } from "../../options/values.ts";
import type { FloatTensor } from "../../tensor/tensor.ts";
import { defineMethod, type Method, type MethodInputs, type Trainable } from "../method.ts";
import { type MethodKind, methodKind } from "../method-kind.ts";
import type { ModelShape } from "../model-shape.ts";
import { checkLayers, inLayers, type LayerChoice, readLayers } from "./layer-choice.ts";
import { readNamed } from "./named-tensors.ts";
import { ownCount } from "./prompt-config.ts";
import { ADAPTER, chosenLayers, type LayerOptions, layerSettings } from "./target-options.ts";

/** Where a kind of bottleneck adapter stands. */
export interface BottleneckKind {
  readonly name: string;
  /** One line for help texts. */
  readonly summary: string;
  /** Outputs that pass through an adapter, in a layer `layers.0`: `layers.0.mlp`. */
  places(layer: string): readonly string[];
  /** A LayerNorm of its own in front of each adapter. */
  readonly hasNorm: boolean;
}

/** Size and layers of bottleneck adapters. */
export interface BottleneckPlan {
  /** r, the width between the projections. */
  readonly size: number;
  /** Layers with adapters; null: all. */
  readonly layers: LayerChoice;
}

/** PyTorch's default. */
const NORM_EPSILON = 1e-5;

function adapterTrainables(place: string, d: number, r: number, hasNorm: boolean): Trainable[] {
  const part = (suffix: string, shape: readonly number[], init: Trainable["init"]): Trainable => {
    return { name: `${place}.adapter.${suffix}`, shape, init };
  };
  const zeros = (n: number) => (): Float32Array => new Float32Array(n);
  const deviation = 1 / Math.sqrt(3 * d); // that of LoRA's A, so that learning rates carry over
  const norm = [
    part("norm.weight", [d], () => new Float32Array(d).fill(1)),
    part("norm.bias", [d], zeros(d)),
  ];
  return [
    ...(hasNorm ? norm : []),
    part("down.weight", [r, d], (g) => Float32Array.from({ length: r * d }, () => deviation * g.normal())),
    part("down.bias", [r], zeros(r)),
    part("up.weight", [d, r], zeros(d * r)),
    part("up.bias", [d], zeros(d)),
  ];
}

/** h + U·relu(D·h + b_D) + b_U; with a norm D·LN(h). h [R, T, d] → same. */
function adapted(place: string, h: Value, hasNorm: boolean, inputs: MethodInputs): Value {
  const part = (suffix: string): Value => inputs.trainable(`${place}.adapter.${suffix}`);
  const x = hasNorm ? layerNorm(h, part("norm.weight"), part("norm.bias"), NORM_EPSILON) : h;
  const down = relu(add(linear(x, part("down.weight")), part("down.bias")));
  return add(h, add(linear(down, part("up.weight")), part("up.bias")));
}

/** Bottleneck adapters (LoRA §5.1): |Θ| = L_adpt·(2·d·r + r + d) + 2·L_LN·d, L_adpt adapters and L_LN trained LayerNorms.
 *  The up-projection starts at zero, so the start is the base, bit for bit.
 *  @throws InputError if no layer is left to adapt, or the model does not have one that was chosen */
export function bottleneck(kind: BottleneckKind, plan: BottleneckPlan, shape: ModelShape): Method {
  const { hiddenSize, layerCount } = shape.config;
  const isChosen = inLayers(checkLayers(plan.layers, layerCount));
  const layers = Array.from({ length: layerCount }, (_, i) => i).filter((i) => isChosen(`layers.${i}`));
  if (layers.length === 0)
    throw new InputError(`${kind.name} does not fit these options`, [
      { where: "adapterDrop", message: `leaves none of the chosen layers (the model has ${layerCount})` },
    ]);
  const places = new Set(layers.flatMap((i) => kind.places(`layers.${i}`)));
  const trainables = [...places].flatMap((p) => adapterTrainables(p, hiddenSize, plan.size, kind.hasNorm));
  const keys = new Map(trainables.map((t) => [t.name, t]));
  return defineMethod({
    name: kind.name,
    trainables,
    // Its bias always gets a gradient; the up-projection none while all of a bottleneck's units are off.
    startsAtZero: new Map([...places].map((p) => [`${p}.adapter.up.bias`, `${p}.adapter`])),
    wrap: (ctx, inputs) => ({
      ...ctx,
      output: (path, x) => {
        const h = ctx.output(path, x);
        return places.has(path) ? adapted(path, h, kind.hasNorm, inputs) : h;
      },
    }),
    merging: "its bottlenecks are not linear, and no weight holds them",
    files: {
      config: (baseModel) => ({
        activation: "relu",
        base_model_name_or_path: baseModel,
        bottleneck: plan.size,
        layers: plan.layers === null ? null : layers,
        lowrank_method: kind.name,
      }),
      write: (values) => new Map([...keys.keys()].map((key) => [key, values.get(key) as FloatTensor])),
      read: (tensors, where) => readNamed(keys, tensors, where),
    },
    structure: JSON.stringify([kind.name, plan.size, layers]),
  });
}

/** The chosen layers without the first `drop` (AdapterDrop, Rücklé et al. 2020). */
function afterDrop(layers: LayerChoice, drop: number, layerCount: number): LayerChoice {
  if (drop === 0) return layers;
  const all = layers ?? Array.from({ length: layerCount }, (_, i) => i);
  return all.filter((i) => i >= drop);
}

function checkActivation(json: Readonly<Record<string, unknown>>, where: string): void {
  const { activation = "relu" } = json;
  if (activation === "relu") return;
  throw new InputError(`${where}: the adapter configuration does not hold`, [
    { where: "activation", message: `expected "relu", got ${JSON.stringify(activation)}` },
  ]);
}

/** Options of the bottleneck adapters. */
export interface BottleneckOptions extends LayerOptions {
  /** r, the width between the projections. */
  readonly adapterSize: number;
  /** Layers at the bottom without adapters (AdapterDrop, Rücklé et al. 2020). */
  readonly adapterDrop: number;
}

const settings: SettingsOf<BottleneckOptions> = {
  ...layerSettings,
  adapterSize: setting(width, 64, {
    group: ADAPTER,
    value: "n",
    description: "adapter-houlsby, -pfeiffer, -lin: width of the bottleneck",
    knownAs: ["bottleneckSize", "adapterDim", "bottleneckDim"],
  }),
  adapterDrop: setting(z.number().int().min(0), 0, {
    group: ADAPTER,
    value: "n",
    description: "adapter-houlsby, -pfeiffer, -lin: layers at the bottom without adapters",
  }),
};

/** A kind of bottleneck adapter as a method of the table. */
export function bottleneckMethod(kind: BottleneckKind): MethodKind {
  return methodKind({
    name: kind.name,
    summary: kind.summary,
    peftType: null,
    settings,
    create: (options, shape) => {
      const { adapterSize: size, adapterDrop: drop } = options;
      const layers = afterDrop(chosenLayers(options, shape), drop, shape.config.layerCount);
      return bottleneck(kind, { size, layers }, shape);
    },
    open: (json, shape, where) => {
      checkActivation(json, where);
      const layers = readLayers(json, shape.config.layerCount, where);
      const plan = { size: ownCount(json, "bottleneck", 1, where), layers };
      return { method: bottleneck(kind, plan, shape), warnings: [] };
    },
  });
}

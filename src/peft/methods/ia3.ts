import { InputError } from "../../errors.ts";
import { hfModuleName, isTransposed } from "../../formats/names.ts";
import type { LoraConfig } from "../../formats/peft/config.ts";
import { type FeedforwardModules, isFeedforward, readIa3Config } from "../../formats/peft/relatives.ts";
import { isAllLinear } from "../../formats/peft/targets.ts";
import { mul, reshape } from "../../graph/ops/index.ts";
import type { Value } from "../../graph/value.ts";
import type { ForwardContext } from "../../models/context.ts";
import { type SettingsOf, setting } from "../../options/setting.ts";
import { names } from "../../options/values.ts";
import { type FloatTensor, floats } from "../../tensor/tensor.ts";
import {
  type AdapterTensors,
  defineMethod,
  type Merging,
  type Method,
  type MethodInputs,
} from "../method.ts";
import { type MethodKind, methodKind } from "../method-kind.ts";
import type { ModelShape } from "../model-shape.ts";
import { inLayers } from "./layer-choice.ts";
import { type LoraModule, planLora } from "./lora-plan.ts";
import { type NamedShape, readNamed } from "./named-tensors.ts";
import { requirePlain } from "./plain-modules.ts";
import { ADAPTER, type TargetOptions, targetConfig, targetSettings } from "./target-options.ts";

/** What an IA3 adapter scales. */
interface Ia3Config {
  /** The choice of modules; LoRA's other settings do not apply. */
  readonly targets: LoraConfig;
  /** Those of them whose input is scaled; of the others it is the output. */
  readonly feedforward: FeedforwardModules;
}

interface Ia3Module {
  readonly path: string;
  readonly name: string;
  /** [1, in] of a module whose input is scaled, else [out, 1]: PEFT's shapes, which broadcast over a weight [out, in]. */
  readonly shape: readonly [number, number];
  readonly scalesInput: boolean;
}

const nameOf = (path: string): string => `${path}.ia3`;

function ia3Module({ path, name, inSize, outSize }: LoraModule, feedforward: FeedforwardModules): Ia3Module {
  const scalesInput = isFeedforward(feedforward, name);
  return { path, name, shape: scalesInput ? [1, inSize] : [outSize, 1], scalesInput };
}

function ia3Context(
  modules: ReadonlyMap<string, Ia3Module>,
  ctx: ForwardContext,
  inputs: MethodInputs,
): ForwardContext {
  const flat = (l: Value, m: Ia3Module): Value => reshape(l, [m.shape[0] * m.shape[1]]);
  return {
    ...ctx,
    // Scaling activations is scaling rows or columns of the weight, and cheaper.
    linear: (path, x) => {
      const m = modules.get(path);
      if (!m) return ctx.linear(path, x);
      const l = flat(inputs.trainable(nameOf(path)), m);
      return m.scalesInput ? ctx.linear(path, mul(x, l)) : mul(ctx.linear(path, x), l);
    },
    linearWeights: (path) => {
      const { weight, bias } = ctx.linearWeights(path);
      const m = modules.get(path);
      if (!m) return { weight, bias };
      const l = inputs.trainable(nameOf(path));
      return { weight: mul(weight, l), bias: bias && !m.scalesInput ? mul(bias, flat(l, m)) : bias };
    },
  };
}

/** l ∘ W, rows or columns; l ∘ b where the output is scaled. */
function scaled(w: FloatTensor, l: FloatTensor, byColumn: boolean): FloatTensor {
  const width = w.shape.length === 2 ? (w.shape[1] as number) : 1;
  const factor = (i: number): number => l.data[byColumn ? i % width : Math.floor(i / width)] as number;
  return floats(
    w.data.map((x, i) => x * factor(i)),
    w.shape,
  );
}

function ia3Merging(modules: readonly Ia3Module[]): Merging {
  const owners = new Map(modules.flatMap((m) => [`${m.path}.weight`, `${m.path}.bias`].map((p) => [p, m])));
  return {
    paths: modules.map((m) => `${m.path}.weight`),
    optional: modules.filter((m) => !m.scalesInput).map((m) => `${m.path}.bias`),
    read: async (path, { base, trained }) => {
      const m = owners.get(path) as Ia3Module;
      return scaled(await base(path), trained(nameOf(m.path)), m.scalesInput);
    },
  };
}

/** IA3 in PEFT's files. */
function ia3Files(config: Ia3Config, modules: readonly Ia3Module[], fanInFanOut: boolean): AdapterTensors {
  const { targets, feedforward } = config;
  const places = new Map(
    modules.map((m): [string, NamedShape] => [
      `base_model.model.${m.name}.ia3_l`,
      { name: nameOf(m.path), shape: m.shape },
    ]),
  );
  return {
    config: (baseModel) => ({
      auto_mapping: null,
      base_model_name_or_path: baseModel,
      exclude_modules: targets.excludeModules,
      fan_in_fan_out: fanInFanOut,
      feedforward_modules: feedforward,
      inference_mode: true,
      init_ia3_weights: true,
      modules_to_save: null,
      peft_type: "IA3",
      revision: null,
      target_modules: targets.targetModules,
      task_type: targets.taskType,
    }),
    write: (values) => new Map([...places].map(([key, { name }]) => [key, values.get(name) as FloatTensor])),
    read: (tensors, where) => readNamed(places, tensors, where),
  };
}

/** IA3 (Liu et al. 2022, arXiv 2205.05638) of a model: keys, values and the input of the feed-forward's last layer are scaled
 *  by trained vectors, which start at one: as the base, bit for bit.
 *  @throws InputError if the configuration does not fit the model */
function ia3(config: Ia3Config, { config: { family }, modules: specs }: ModelShape): Method {
  const plan = planLora(config.targets, family, specs).modules;
  requirePlain("ia3", config.targets, plan);
  const modules = plan.map((m) => ia3Module(m, config.feedforward));
  const adapted = new Map(modules.map((m) => [m.path, m]));
  return defineMethod({
    name: "ia3",
    trainables: modules.map(({ path, shape }) => ({
      name: nameOf(path),
      shape,
      init: () => new Float32Array(shape[0] * shape[1]).fill(1),
    })),
    wrap: (ctx, inputs) => ia3Context(adapted, ctx, inputs),
    merging: ia3Merging(modules),
    files: ia3Files(
      config,
      modules,
      modules.some((m) => isTransposed(family, m.path)),
    ),
    structure: JSON.stringify(["ia3", modules]),
  });
}

/** Keys and values (with GPT-2's queries, one module there), and what enters the feed-forward's last layer. */
const USUAL = /\.(?:attention\.(?:k|v|qkv)|mlp\.down)$/;
const LAST_OF_MLP = /\.mlp\.down$/;

/** Names by which PEFT finds the modules that training chose, and which of them scale their input. Entries of a list must
 *  name modules of one kind only ("c_proj" of GPT-2 is in attention and MLP). */
function chosenTargets(
  lora: LoraConfig,
  feedforward: readonly string[] | null,
  { config: { family }, modules: specs }: ModelShape,
): Ia3Config {
  const isUsual = isAllLinear(lora);
  const keep = inLayers(lora.layersToTransform);
  const usual = specs
    .filter((m) => USUAL.test(m.path) && keep(m.path))
    .map((m) => hfModuleName(family, m.path));
  const wanted = isUsual ? { ...lora, targetModules: usual, layersToTransform: null } : lora;
  const { modules } = planLora(wanted, family, specs);
  requireAmong(modules, feedforward ?? []);
  const scalesInput = (m: LoraModule): boolean =>
    feedforward === null ? LAST_OF_MLP.test(m.path) : isFeedforward(feedforward, m.name);
  const last = modules.filter(scalesInput).map((m) => m.name);
  const others = modules.map((m) => m.name).filter((name) => !last.includes(name));
  const endsWith = (names: readonly string[], entry: string): boolean =>
    names.some((name) => name.endsWith(entry));
  const short = [...new Set(usual.map((name) => name.split(".").slice(-2).join(".")))];
  const entries = isUsual ? short : lora.targetModules;
  const targets = { ...lora, layersToTransform: null, layersPattern: null };
  const isDistinct = (list: readonly string[]): boolean =>
    list.every((entry) => !(endsWith(last, entry) && endsWith(others, entry)));
  if (lora.layersToTransform === null && typeof entries === "string")
    return { targets: { ...targets, targetModules: entries }, feedforward: last };
  if (lora.layersToTransform === null && typeof entries !== "string" && isDistinct(entries))
    return {
      targets: { ...targets, targetModules: entries },
      feedforward: entries.filter((entry) => endsWith(last, entry)),
    };
  return { targets: { ...targets, targetModules: modules.map((m) => m.name) }, feedforward: last };
}

/** @throws InputError listing the feed-forward modules that are not among those that are scaled */
function requireAmong(modules: readonly LoraModule[], feedforward: readonly string[]): void {
  const missing = feedforward.filter((entry) => !modules.some((m) => isFeedforward([entry], m.name)));
  if (missing.length > 0)
    throw new InputError(
      "ia3 does not fit these options",
      missing.map((entry) => ({
        where: "feedforwardModules",
        message: `"${entry}" is no module that ia3 scales`,
      })),
    );
}

/** Options of IA3. */
export interface Ia3Options extends TargetOptions {
  /** Modules whose input is scaled, by name; null for the MLP's last layer. */
  readonly feedforwardModules: readonly string[] | null;
}

const settings: SettingsOf<Ia3Options> = {
  ...targetSettings,
  feedforwardModules: setting(names.nullable(), null, {
    group: ADAPTER,
    value: "modules",
    description: "ia3: modules whose input is scaled; of the others it is the output",
    defaultText: "the MLP's last layer",
    expects: "a list of module names",
  }),
};

/** IA3 as a method of the table. */
export const ia3Kind: MethodKind = methodKind({
  name: "ia3",
  summary: "vectors that scale keys, values and the MLP's inner activations",
  peftType: "IA3",
  settings,
  create: (options, shape, use) =>
    ia3(chosenTargets(targetConfig(options, shape, use, {}), options.feedforwardModules, shape), shape),
  open: (json, shape, where) => {
    const { own, targets, warnings } = readIa3Config(json, where);
    return { method: ia3({ targets, feedforward: own.feedforward }, shape), warnings };
  },
});

import { z } from "zod";
import { MAX_RANK } from "../../formats/peft/config.ts";
import { METHOD_NAMES } from "../../peft/methods/table.ts";
import { type Setting, setting } from "./setting.ts";
import {
  count,
  type LayerSelection,
  layerList,
  type ModuleSelection,
  modules,
  names,
  positive,
  share,
  text,
  width,
} from "./values.ts";

const LORA = "Adapter";

/** Options of the methods. */
export const adapterSettings = {
  method: setting(text, "lora", {
    group: LORA,
    value: "methods",
    description: `how to adapt: ${METHOD_NAMES.join(", ")}; several joined by +`,
    expects: `names of methods joined by + (${METHOD_NAMES.join(", ")})`,
    knownAs: ["peftType", "fineTuneType"],
  }) as Setting<string>,
  rank: setting(width, 16, {
    group: LORA,
    value: "n",
    description: "rank of the update",
    knownAs: ["r", "loraR", "loraRank"],
  }) as Setting<number>,
  alpha: setting(positive, 32, {
    group: LORA,
    value: "x",
    description: "the update is scaled by alpha / rank",
    knownAs: ["loraAlpha"],
  }) as Setting<number>,
  dropout: setting(share, 0, {
    group: LORA,
    value: "share",
    description: "dropout on the input of the update",
    knownAs: ["loraDropout"],
  }) as Setting<number>,
  bias: setting(z.enum(["none", "all", "lora_only"]), "none", {
    group: LORA,
    description: "biases to train as well",
  }) as Setting<"none" | "all" | "lora_only">,
  targetModules: setting(modules.nullable(), null, {
    group: LORA,
    value: "modules",
    description: "modules to adapt: all-linear, names (comma-separated) or /regex/",
    defaultText: "all-linear; query,value of an encoder",
    expects: "all-linear, a list of module names or /regex/",
    knownAs: ["target", "targets", "loraTarget", "loraTargetModules", "loraLayers", "keys"],
  }) as Setting<ModuleSelection | null>,
  excludeModules: setting(modules.nullable(), null, {
    group: LORA,
    value: "modules",
    description: "modules to leave out: names or /regex/",
    expects: "a list of module names or /regex/",
  }) as Setting<ModuleSelection | null>,
  layers: setting(layerList.nullable(), null, {
    group: LORA,
    value: "list",
    description: "layers to adapt, e.g. 0-5,28,29 or last:2",
    defaultText: "all",
    expects: "layer numbers and ranges such as 0-5,28, or last:2",
    knownAs: ["layersToTransform"],
  }) as Setting<LayerSelection | null>,
  rankPattern: setting(
    z.record(text, width),
    {},
    {
      group: LORA,
      value: "module=n,…",
      description: "another rank for modules that match",
      expects: "module=rank pairs, ranks ≥ 1",
    },
  ) as Setting<Readonly<Record<string, number>>>,
  alphaPattern: setting(
    z.record(text, positive),
    {},
    {
      group: LORA,
      value: "module=x,…",
      description: "another alpha for modules that match",
      expects: "module=alpha pairs, alphas > 0",
    },
  ) as Setting<Readonly<Record<string, number>>>,
  rsLora: setting(z.boolean(), false, {
    group: LORA,
    description: "scale by alpha / √rank",
    knownAs: ["useRslora"],
  }) as Setting<boolean>,
  loraBias: setting(z.boolean(), false, {
    group: LORA,
    description: "give B a bias of its own",
  }) as Setting<boolean>,
  modulesToSave: setting(names, [], {
    group: LORA,
    value: "modules",
    description: "modules to train in full and save with the adapter",
    expects: "a list of module names",
  }) as Setting<readonly string[]>,
  init: setting(z.enum(["gaussian", "kaiming-uniform"]), "gaussian", {
    group: LORA,
    description: "first values of A (B starts at 0): the paper's, or PEFT's",
    knownAs: ["initLoraWeights"],
  }) as Setting<"gaussian" | "kaiming-uniform">,
  loraPlusRatio: setting(positive, 16, {
    group: LORA,
    value: "x",
    description: "lora-plus: learning rate of B over that of A",
    knownAs: ["loraplusLrRatio"],
  }) as Setting<number>,
  veraInitial: setting(positive, 0.1, {
    group: LORA,
    value: "x",
    description: "vera: first value of the vector between the projections",
    knownAs: ["dInitial"],
  }) as Setting<number>,
  targetRank: setting(width.nullable(), null, {
    group: LORA,
    value: "n",
    description: "adalora: average rank to end with",
    defaultText: "half of the rank",
    knownAs: ["targetR"],
  }) as Setting<number | null>,
  rankWarmupSteps: setting(z.number().int().min(0).nullable(), null, {
    group: LORA,
    value: "n",
    description: "adalora: steps before ranks fall",
    defaultText: "a tenth of all",
    knownAs: ["tinit"],
  }) as Setting<number | null>,
  rankFinalSteps: setting(z.number().int().min(0).nullable(), null, {
    group: LORA,
    value: "n",
    description: "adalora: steps at the end with the ranks that are left",
    defaultText: "a fifth of all",
    knownAs: ["tfinal"],
  }) as Setting<number | null>,
  rankInterval: setting(count, 1, {
    group: LORA,
    value: "n",
    description: "adalora: steps from one choice of ranks to the next",
    knownAs: ["deltaT"],
  }) as Setting<number>,
  orthogonality: setting(z.number().min(0), 0.5, {
    group: LORA,
    value: "x",
    description: "adalora: weight of the penalty that keeps vectors orthonormal",
    knownAs: ["orthRegWeight"],
  }) as Setting<number>,
  adapterSize: setting(width, 64, {
    group: LORA,
    value: "n",
    description: "adapter-houlsby, -pfeiffer, -lin: width of the bottleneck",
    knownAs: ["bottleneckSize", "adapterDim", "bottleneckDim"],
  }) as Setting<number>,
  adapterDrop: setting(z.number().int().min(0), 0, {
    group: LORA,
    value: "n",
    description: "adapter-houlsby, -pfeiffer, -lin: layers at the bottom without adapters",
  }) as Setting<number>,
  feedforwardModules: setting(names.nullable(), null, {
    group: LORA,
    value: "modules",
    description: "ia3: modules whose input is scaled; of the others it is the output",
    defaultText: "the MLP's last layer",
    expects: "a list of module names",
  }) as Setting<readonly string[] | null>,
  prefixLength: setting(z.number().int().min(0).max(MAX_RANK), 20, {
    group: LORA,
    value: "n",
    description: "virtual tokens in front of the prompt (prefix methods)",
    knownAs: ["numVirtualTokens"],
  }) as Setting<number>,
  infixLength: setting(z.number().int().min(0).max(MAX_RANK), 0, {
    group: LORA,
    value: "n",
    description: "virtual tokens between prompt and completion (prefix-embedding, prefix-layer)",
  }) as Setting<number>,
  prefixText: setting(text.nullable(), null, {
    group: LORA,
    value: "text",
    description: "text whose embeddings the virtual tokens start as",
    defaultText: "random",
    knownAs: ["promptTuningInitText"],
  }) as Setting<string | null>,
  prefixProjection: setting(count.nullable(), null, {
    group: LORA,
    value: "n",
    description: "hidden size of an MLP that makes prefix-tuning's prefix while it is trained",
    defaultText: "no MLP",
    knownAs: ["encoderHiddenSize"],
  }) as Setting<number | null>,
};

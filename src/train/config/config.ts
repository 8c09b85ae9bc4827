import { z } from "zod";
import type { Problem } from "../../errors.ts";
import { RECOMPUTE_LEVELS, type Recompute } from "../step-graphs.ts";
import { adapterSettings } from "./adapter.ts";
import { dataSettings } from "./data.ts";
import { type Check, type Layer, resolveSettings, type Setting, setting } from "./setting.ts";
import { type TemplateArgs, templateSettings } from "./template.ts";
import { count, positive, share, text } from "./values.ts";

/** More threads than any machine has cores; the engine does not come back from many thousands. */
const MAX_THREADS = 512;

const MODEL = "Model";
const OPTIMIZER = "Optimizer";
const RUN = "Run";

const modelSettings = {
  model: setting(text, "smollm2-135m", {
    group: MODEL,
    value: "model",
    description: "model to adapt: an alias, a Hugging Face folder, a .gguf file or a Hub id",
    knownAs: ["modelNameOrPath", "baseModel", "modelName"],
  }) as Setting<string>,
  baseBits: setting(z.literal([32, 8, 4]), 32, {
    group: MODEL,
    value: "bits",
    description: "keep the frozen matrices in 4 or 8 bits: less memory, faster generation, rounded weights",
    knownAs: ["loadIn4bit", "loadIn8bit", "quantization", "quantize"],
  }) as Setting<32 | 8 | 4>,
  compute: setting(z.enum(["float32", "int8"]), "float32", {
    group: MODEL,
    description:
      "products with a base of 4 or 8 bits: exact, or faster with activations rounded to 8 bits as in generation",
  }) as Setting<"float32" | "int8">,
  templateArgs: templateSettings.templateArgs as Setting<TemplateArgs>,
  templateDate: templateSettings.templateDate as Setting<string | null>,
  device: setting(z.enum(["cpu", "cuda", "webgpu", "dml", "coreml"]), "cpu", {
    group: MODEL,
    description: "where to compute",
    mayChangeOnResume: true,
  }) as Setting<"cpu" | "cuda" | "webgpu" | "dml" | "coreml">,
  threads: setting(count.max(MAX_THREADS).nullable(), null, {
    group: MODEL,
    value: "n",
    description: "threads to compute with",
    defaultText: "all cores",
    mayChangeOnResume: true,
    knownAs: ["numThreads"],
  }) as Setting<number | null>,
  offline: setting(z.boolean(), false, {
    group: MODEL,
    description: "use the cache only, never the network",
    mayChangeOnResume: true,
  }) as Setting<boolean>,
};

const optimizerSettings = {
  learningRate: setting(positive, 2e-4, {
    group: OPTIMIZER,
    value: "x",
    description: "peak learning rate",
    knownAs: ["lr"],
  }) as Setting<number>,
  schedule: setting(z.enum(["constant", "linear", "cosine"]), "linear", {
    group: OPTIMIZER,
    description: "learning rate after the warm-up",
    knownAs: ["lrScheduler", "lrSchedulerType", "scheduler", "lrSchedule"],
  }) as Setting<"constant" | "linear" | "cosine">,
  warmupSteps: setting(z.number().int().min(0).nullable(), 10, {
    group: OPTIMIZER,
    value: "n",
    description: "steps over which the learning rate rises",
    knownAs: ["warmup"],
  }) as Setting<number | null>,
  warmupRatio: setting(share.nullable(), null, {
    group: OPTIMIZER,
    value: "share",
    description: "the same as a share of all steps, instead",
  }) as Setting<number | null>,
  epochs: setting(positive.max(1e6), 1, {
    group: OPTIMIZER,
    value: "x",
    description: "passes over the data",
    knownAs: ["numEpochs", "numTrainEpochs"],
  }) as Setting<number>,
  maxSteps: setting(count.nullable(), null, {
    group: OPTIMIZER,
    value: "n",
    description: "optimizer updates, instead of epochs",
    knownAs: ["iters", "steps", "maxIters"],
  }) as Setting<number | null>,
  batchSize: setting(count.max(65_536), 8, {
    group: OPTIMIZER,
    value: "n",
    description: "examples in a micro-step",
    knownAs: ["perDeviceTrainBatchSize", "microBatchSize", "batch"],
  }) as Setting<number>,
  groupByPrefix: setting(z.boolean(), false, {
    group: OPTIMIZER,
    description: "examples that begin alike come into one batch: fewer tokens to compute, batches less mixed",
    knownAs: ["groupByLength", "trainSamplingStrategy"],
  }) as Setting<boolean>,
  accumulation: setting(count.max(65_536), 1, {
    group: OPTIMIZER,
    value: "n",
    description: "micro-steps in an optimizer update",
    knownAs: ["gradientAccumulationSteps", "gradAccumulationSteps", "accumulationSteps"],
  }) as Setting<number>,
  weightDecay: setting(z.number().min(0), 0, {
    group: OPTIMIZER,
    value: "x",
    description: "decoupled weight decay",
  }) as Setting<number>,
  beta1: setting(share, 0.9, {
    group: OPTIMIZER,
    value: "x",
    description: "AdamW's decay of the mean",
    knownAs: ["adamBeta1"],
  }) as Setting<number>,
  beta2: setting(share, 0.999, {
    group: OPTIMIZER,
    value: "x",
    description: "AdamW's decay of the square",
    knownAs: ["adamBeta2"],
  }) as Setting<number>,
  epsilon: setting(positive, 1e-8, {
    group: OPTIMIZER,
    value: "x",
    description: "AdamW's ε",
    knownAs: ["adamEpsilon", "eps"],
  }) as Setting<number>,
  clipNorm: setting(positive.nullable(), 1, {
    group: OPTIMIZER,
    value: "x",
    description: "largest global norm of the gradient; none does not clip",
    knownAs: ["maxGradNorm", "gradientClipping", "gradClip"],
  }) as Setting<number | null>,
  labelSmoothing: setting(share, 0, {
    group: OPTIMIZER,
    value: "share",
    description: "label smoothing",
    knownAs: ["labelSmoothingFactor"],
  }) as Setting<number>,
  seed: setting(z.number().int().min(0), 0, {
    group: OPTIMIZER,
    value: "n",
    description: "seed of everything random",
  }) as Setting<number>,
};

const runSettings = {
  recompute: setting(z.enum(["auto", ...RECOMPUTE_LEVELS]), "auto", {
    group: RUN,
    value: "level",
    description:
      "compute again in the backward pass, to save memory: nothing, attention and activations, or whole layers",
    defaultText: "as little as free memory allows",
    mayChangeOnResume: true,
    knownAs: ["gradientCheckpointing"],
  }) as Setting<"auto" | Recompute>,
  prepack: setting(z.boolean(), false, {
    group: RUN,
    description: "private copies of the weights: faster by some percent with small batches, in more memory",
  }) as Setting<boolean>,

  output: setting(text.nullable(), null, {
    group: RUN,
    value: "folder",
    description: "run folder",
    defaultText: "runs/<data>-<number>",
    knownAs: ["outputDir", "outDir", "adapterPath", "saveDir"],
  }) as Setting<string | null>,
  name: setting(text.nullable(), null, {
    group: RUN,
    value: "name",
    description: "name of the run in its report",
    knownAs: ["runName"],
  }) as Setting<string | null>,
  evalEvery: setting(count.nullable(), null, {
    group: RUN,
    value: "n",
    description: "steps between evaluations",
    defaultText: "only before and after",
    mayChangeOnResume: true,
    knownAs: ["evalSteps", "stepsPerEval"],
  }) as Setting<number | null>,
  earlyStopping: setting(count.nullable(), null, {
    group: RUN,
    value: "n",
    description: "stop after n evaluations without a better validation loss",
    mayChangeOnResume: true,
    knownAs: ["earlyStoppingPatience", "patience"],
  }) as Setting<number | null>,
  checkpointEvery: setting(count.nullable(), null, {
    group: RUN,
    value: "n",
    description: "steps between checkpoints",
    defaultText: "five in a run",
    mayChangeOnResume: true,
    knownAs: ["saveSteps", "saveEvery", "saveInterval"],
  }) as Setting<number | null>,
  keepCheckpoints: setting(count, 2, {
    group: RUN,
    value: "n",
    description: "checkpoints to keep, besides the best",
    mayChangeOnResume: true,
    knownAs: ["saveTotalLimit"],
  }) as Setting<number>,
  samples: setting(z.number().int().min(0), 3, {
    group: RUN,
    value: "n",
    description: "held-out prompts to answer before and after",
    mayChangeOnResume: true,
  }) as Setting<number>,
  resume: setting(z.union([text, z.boolean()]), false, {
    group: RUN,
    value: "folder",
    description: "go on with an interrupted run (without a folder: the latest)",
    expects: "a run folder",
    mayChangeOnResume: true,
    knownAs: ["resumeFromCheckpoint"],
  }) as Setting<string | boolean>,
  profile: setting(z.boolean(), false, {
    group: RUN,
    description:
      "profile a few steps by operator and by layer (profile.json and profile.svg in the run folder)",
    mayChangeOnResume: true,
  }) as Setting<boolean>,
  dryRun: setting(z.boolean(), false, {
    group: RUN,
    description: "print the plan and stop",
    mayChangeOnResume: true,
  }) as Setting<boolean>,
};

/** Every option of a training run, in the order of help texts: each is a flag (kebab-case), a config-file key (the name), a
 *  default, a help text and a field of `TrainConfig`. */
export const trainSettings: typeof modelSettings &
  typeof dataSettings &
  typeof adapterSettings &
  typeof optimizerSettings &
  typeof runSettings = {
  ...modelSettings,
  ...dataSettings,
  ...adapterSettings,
  ...optimizerSettings,
  ...runSettings,
};

/** A training run, complete and checked. Fields are those of `trainSettings`. */
export type TrainConfig = { readonly [K in keyof typeof trainSettings]: z.output<(typeof trainSettings)[K]> };

/** A training run as a caller states it: what is left out has its default. */
export type TrainOptions = Partial<TrainConfig>;

/** The one schema of training options. */
export const trainConfigSchema: z.ZodObject<typeof trainSettings> = z.strictObject(trainSettings);

/** Defaults filled in, everything checked. @throws InputError with every problem, each under its option's name. */
export function trainConfig(options: TrainOptions = {}): TrainConfig {
  return resolveTrainConfig([{ values: options, where: (key) => key }]);
}

/** The same over several layers (flags, file, recipe), the first winning. @throws InputError */
export function resolveTrainConfig(layers: readonly Layer[]): TrainConfig {
  const config = resolveSettings(trainConfigSchema, layers, "the training options do not hold:", rules);
  return config.warmupRatio === null ? config : { ...config, warmupSteps: null };
}

const rules: Check<TrainConfig> = (config, where, isGiven) => {
  const problems: Problem[] = [];
  const clash = (key: string, other: string, reason: string): number =>
    problems.push({ where: where(key), message: `${reason} ${where(other)}` });
  if (config.warmupRatio !== null && config.warmupSteps !== null && isGiven("warmupSteps"))
    clash("warmupRatio", "warmupSteps", "says the same as");
  if (config.compute === "int8" && config.baseBits === 32)
    problems.push({ where: where("compute"), message: `int8 needs ${where("baseBits")} 8 or 4` });
  if (config.validationFraction > 0 && config.validationData !== null)
    clash("validationFraction", "validationData", "cannot stand beside");
  if (config.promptTemplate !== null && config.promptField !== null)
    clash("promptTemplate", "promptField", "cannot stand beside");
  if (config.earlyStopping !== null && !hasValidation(config))
    problems.push({ where: where("earlyStopping"), message: "needs validationData or validationFraction" });
  if (config.earlyStopping !== null && config.evalEvery === null)
    problems.push({ where: where("earlyStopping"), message: "needs evalEvery" });
  return problems;
};

function hasValidation(config: TrainConfig): boolean {
  return config.validationData !== null || config.validationFraction > 0;
}

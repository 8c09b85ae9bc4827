import { z } from "zod";
import {
  checkFields,
  type DataOptions,
  dataSettings,
  type ExampleOptions,
  exampleSettings,
  type HoldOutOptions,
  holdOutSettings,
} from "../../data/options.ts";
import type { Problem } from "../../errors.ts";
import { type BaseOptions, baseSettings } from "../../models/options.ts";
import { type ClipOptions, clipSettings } from "../../optim/clip.ts";
import { type LearningRateOptions, learningRateSettings, OPTIMIZER } from "../../optim/schedule.ts";
import { type OptimizerOptions, optimizerSettings, optimizersWith } from "../../optim/table.ts";
import {
  type Check,
  type Layer,
  resolveSettings,
  type Setting,
  type SettingsOf,
  setting,
} from "../../options/setting.ts";
import { count, positive, share, text } from "../../options/values.ts";
import {
  METHOD_NAMES,
  type MethodOptions,
  methodSettings,
  methodsWith,
  namesIn,
} from "../../peft/methods/table.ts";
import { type DeviceOptions, deviceSettings, usesHostMemory } from "../../runtime/device.ts";
import { type TemplateOptions, templateSettings } from "../../text/template-options.ts";
import { RECOMPUTE_LEVELS, type Recompute } from "../step-graphs.ts";
import { type TaskOptions, taskSettings } from "../tasks/table.ts";

const RUN = "Run";

/** How a model is adapted. */
interface MethodChoice {
  /** Names of methods joined by +. */
  readonly method: string;
}

const methodChoice: SettingsOf<MethodChoice> = {
  method: setting(text, "lora", {
    group: "Adapter",
    value: "methods",
    description: `how to adapt: ${METHOD_NAMES.join(", ")}; several joined by +`,
    expects: `names of methods joined by + (${METHOD_NAMES.join(", ")})`,
    knownAs: ["peftType", "fineTuneType"],
  }),
};

/** How long, and over which batches. */
interface LoopOptions {
  /** Passes over the data. */
  readonly epochs: number;
  /** Optimizer updates, instead of epochs. */
  readonly maxSteps: number | null;
  /** Examples in a micro-step. */
  readonly batchSize: number;
  /** Examples that begin alike come into one batch. */
  readonly groupByPrefix: boolean;
  /** Micro-steps in an optimizer update. */
  readonly accumulation: number;
  readonly labelSmoothing: number;
  /** Of everything random. */
  readonly seed: number;
}

const loopSettings: SettingsOf<LoopOptions> = {
  epochs: setting(positive.max(1e6), 1, {
    group: OPTIMIZER,
    value: "x",
    description: "passes over the data",
    knownAs: ["numEpochs", "numTrainEpochs"],
  }),
  maxSteps: setting(count.nullable(), null, {
    group: OPTIMIZER,
    value: "n",
    description: "optimizer updates, instead of epochs",
    knownAs: ["iters", "steps", "maxIters"],
  }),
  batchSize: setting(count.max(65_536), 8, {
    group: OPTIMIZER,
    value: "n",
    description: "examples in a micro-step",
    knownAs: ["perDeviceTrainBatchSize", "microBatchSize", "batch"],
  }),
  groupByPrefix: setting(z.boolean(), false, {
    group: OPTIMIZER,
    description: "examples that begin alike come into one batch: fewer tokens to compute, batches less mixed",
    knownAs: ["groupByLength", "trainSamplingStrategy"],
  }),
  accumulation: setting(count.max(65_536), 1, {
    group: OPTIMIZER,
    value: "n",
    description: "micro-steps in an optimizer update",
    knownAs: ["gradientAccumulationSteps", "gradAccumulationSteps", "accumulationSteps"],
  }),
  labelSmoothing: setting(share, 0, {
    group: OPTIMIZER,
    value: "share",
    description: "label smoothing",
    knownAs: ["labelSmoothingFactor"],
  }),
  seed: setting(z.number().int().min(0), 0, {
    group: OPTIMIZER,
    value: "n",
    description: "seed of everything random",
  }),
};

/** What a run keeps, shows and takes. */
interface RunOptions {
  /** Use the cache only, never the network. */
  readonly offline: boolean;
  /** What is computed again in the backward pass, to save memory. */
  readonly recompute: "auto" | Recompute;
  /** Private copies of the weights: faster by some percent with small batches, in more memory. */
  readonly prepack: boolean;
  /** GiB that the device has; null: not known, and the machine's free memory counts. */
  readonly deviceMemory: number | null;
  /** Run folder; null: runs/<data>-<number>. */
  readonly output: string | null;
  /** Name of the run in its report. */
  readonly name: string | null;
  /** Steps between evaluations; null: only before and after. */
  readonly evalEvery: number | null;
  /** Stop after n evaluations without a better validation loss. */
  readonly earlyStopping: number | null;
  /** Steps between checkpoints; null: five in a run. */
  readonly checkpointEvery: number | null;
  /** Checkpoints to keep, besides the best. */
  readonly keepCheckpoints: number;
  /** Held-out prompts to answer before and after. */
  readonly samples: number;
  /** Held-out prompts to answer before and after, to say how many answers are right. */
  readonly scoreAnswers: number;
  /** Steps between answers to the same prompts; null: only before and after. */
  readonly samplesEvery: number | null;
  /** Go on with an interrupted run: its folder, or true for the latest. */
  readonly resume: string | boolean;
  /** Profile a few steps by operator and by layer. */
  readonly profile: boolean;
  /** Print the plan and stop. */
  readonly dryRun: boolean;
}

const runSettings: SettingsOf<RunOptions> = {
  offline: setting(z.boolean(), false, {
    group: "Model",
    description: "use the cache only, never the network",
    mayChangeOnResume: true,
  }),
  recompute: setting(z.enum(["auto", ...RECOMPUTE_LEVELS]), "auto", {
    group: RUN,
    value: "level",
    description:
      "compute again in the backward pass, to save memory: nothing, attention and activations, or whole layers",
    defaultText: "as little as free memory allows",
    mayChangeOnResume: true,
    knownAs: ["gradientCheckpointing"],
  }),
  prepack: setting(z.boolean(), false, {
    group: RUN,
    description: "private copies of the weights: faster by some percent with small batches, in more memory",
  }),
  deviceMemory: setting(z.number().positive().max(4096).nullable(), null, {
    group: RUN,
    value: "GiB",
    description: "memory of the device, which does not tell it: what a run may take",
    defaultText: "not known",
    mayChangeOnResume: true,
  }),
  output: setting(text.nullable(), null, {
    group: RUN,
    value: "folder",
    description: "run folder",
    defaultText: "runs/<data>-<number>",
    knownAs: ["outputDir", "outDir", "adapterPath", "saveDir"],
  }),
  name: setting(text.nullable(), null, {
    group: RUN,
    value: "name",
    description: "name of the run in its report",
    knownAs: ["runName"],
  }),
  evalEvery: setting(count.nullable(), null, {
    group: RUN,
    value: "n",
    description: "steps between evaluations",
    defaultText: "only before and after",
    mayChangeOnResume: true,
    knownAs: ["evalSteps", "stepsPerEval"],
  }),
  earlyStopping: setting(count.nullable(), null, {
    group: RUN,
    value: "n",
    description: "stop after n evaluations without a better validation loss",
    mayChangeOnResume: true,
    knownAs: ["earlyStoppingPatience", "patience"],
  }),
  checkpointEvery: setting(count.nullable(), null, {
    group: RUN,
    value: "n",
    description: "steps between checkpoints",
    defaultText: "five in a run",
    mayChangeOnResume: true,
    knownAs: ["saveSteps", "saveEvery", "saveInterval"],
  }),
  keepCheckpoints: setting(count, 2, {
    group: RUN,
    value: "n",
    description: "checkpoints to keep, besides the best",
    mayChangeOnResume: true,
    knownAs: ["saveTotalLimit"],
  }),
  samples: setting(z.number().int().min(0), 3, {
    group: RUN,
    value: "n",
    description: "held-out prompts to answer before and after",
    mayChangeOnResume: true,
  }),
  scoreAnswers: setting(z.number().int().min(0), 0, {
    group: RUN,
    value: "n",
    description: "held-out prompts to answer before and after, to say how many answers are exactly right",
    mayChangeOnResume: true,
    knownAs: ["predictWithGenerate", "exactMatch"],
  }),
  samplesEvery: setting(count.nullable(), null, {
    group: RUN,
    value: "n",
    description: "steps between answers to the same prompts, to see the adapter learn",
    defaultText: "only before and after",
    mayChangeOnResume: true,
    knownAs: ["sampleEvery", "sampleInterval"],
  }),
  resume: setting(z.union([text, z.boolean()]), false, {
    group: RUN,
    value: "folder",
    description: "go on with an interrupted run (without a folder: the latest)",
    expects: "a run folder",
    mayChangeOnResume: true,
    knownAs: ["resumeFromCheckpoint"],
  }),
  profile: setting(z.boolean(), false, {
    group: RUN,
    description:
      "profile a few steps by operator and by layer (profile.json and profile.svg in the run folder)",
    mayChangeOnResume: true,
  }),
  dryRun: setting(z.boolean(), false, {
    group: RUN,
    description: "print the plan and stop",
    mayChangeOnResume: true,
  }),
};

/** A training run, complete and checked. */
export interface TrainConfig
  extends BaseOptions,
    TemplateOptions,
    DeviceOptions,
    TaskOptions,
    DataOptions,
    HoldOutOptions,
    ExampleOptions,
    MethodChoice,
    MethodOptions,
    LearningRateOptions,
    OptimizerOptions,
    ClipOptions,
    LoopOptions,
    RunOptions {}

/** Every option of a training run, in the order of help texts: each is a flag (kebab-case), a config-file key (the name), a
 *  default, a help text and a field of `TrainConfig`, and stands with what it is an option of. */
export const trainSettings: SettingsOf<TrainConfig> = {
  ...baseSettings,
  ...templateSettings,
  ...deviceSettings,
  ...taskSettings,
  ...dataSettings,
  ...holdOutSettings,
  ...exampleSettings,
  ...methodChoice,
  ...methodSettings,
  ...learningRateSettings,
  ...loopSettings,
  ...optimizerSettings,
  ...clipSettings,
  ...runSettings,
};

/** A training run as a caller states it: what is left out has its default. */
export type TrainOptions = Partial<TrainConfig>;

/** The one schema of training options. */
export const trainConfigSchema: z.ZodObject<SettingsOf<TrainConfig>> = z.strictObject(trainSettings);

/** Defaults filled in, everything checked. @throws InputError with every problem, each under its option's name. */
export function trainConfig(options: TrainOptions = {}): TrainConfig {
  return resolveTrainConfig([{ values: options, where: (key) => key }]);
}

/** The same over several layers (flags, file, recipe), the first winning. What has no effect, and nobody stated for this run, gets its
 *  default. @throws InputError */
export function resolveTrainConfig(layers: readonly Layer[]): TrainConfig {
  const config = resolveSettings(trainConfigSchema, layers, "the training options do not hold:", rules);
  const idle = Object.fromEntries(idleOptions(config).map(({ key, fallback }) => [key, fallback]));
  return { ...config, ...idle, ...(config.warmupRatio === null ? {} : { warmupSteps: null }) };
}

const rules: Check<TrainConfig> = (config, where, isGiven) => {
  const problems: Problem[] = [];
  const clash = (key: string, other: string, reason: string): number =>
    problems.push({ where: where(key), message: `${reason} ${where(other)}` });
  if (config.warmupRatio !== null && config.warmupSteps !== null && isGiven("warmupSteps"))
    clash("warmupRatio", "warmupSteps", "says the same as");
  if (config.compute === "int8" && config.baseBits === 32)
    problems.push({ where: where("compute"), message: `int8 needs ${where("baseBits")} 8 or 4` });
  if (config.deviceMemory !== null && usesHostMemory(config.device))
    problems.push({
      where: where("deviceMemory"),
      message: `has no effect with ${where("device")} ${config.device}, whose memory is the machine's`,
    });
  if (config.validationFraction > 0 && config.validationData !== null)
    clash("validationFraction", "validationData", "cannot stand beside");
  if (config.earlyStopping !== null && !hasValidation(config))
    problems.push({ where: where("earlyStopping"), message: "needs validationData or validationFraction" });
  if (config.earlyStopping !== null && config.evalEvery === null)
    problems.push({ where: where("earlyStopping"), message: "needs evalEvery" });
  if (config.samplesEvery !== null && config.samples === 0)
    problems.push({ where: where("samplesEvery"), message: "needs samples above 0" });
  if (config.referencesField !== null && config.scoreAnswers === 0)
    problems.push({ where: where("referencesField"), message: "has no effect without scoreAnswers" });
  return [...problems, ...checkFields(config, where, isGiven), ...withoutEffect(config, where, isGiven)];
};

/** An option of methods or optimizers of which none is chosen, not at its default. */
interface IdleOption {
  readonly key: string;
  readonly fallback: unknown;
  /** What is chosen instead. */
  readonly chosen: readonly string[];
  readonly owners: readonly string[];
}

function idleOptions(config: TrainConfig): readonly IdleOption[] {
  const of = (
    settings: Readonly<Record<string, Setting<unknown>>>,
    ownersOf: (key: string) => readonly string[],
    chosen: readonly string[],
  ): IdleOption[] =>
    Object.entries(settings)
      .map(([key, own]) => ({ key, fallback: own.parse(undefined), chosen, owners: ownersOf(key) }))
      .filter(({ owners }) => owners.length > 0 && !owners.some((name) => chosen.includes(name)))
      .filter(
        ({ key, fallback }) => JSON.stringify(config[key as keyof TrainConfig]) !== JSON.stringify(fallback),
      );
  return [
    ...of(methodSettings, methodsWith, namesIn(config.method)),
    ...of(optimizerSettings, optimizersWith, [config.optimizer]),
  ];
}

function withoutEffect(
  config: TrainConfig,
  where: (key: string) => string,
  isGiven: (key: string) => boolean,
): Problem[] {
  return idleOptions(config)
    .filter(({ key }) => isGiven(key))
    .map(({ key, chosen, owners }) => ({
      where: where(key),
      message: `has no effect with ${chosen.join("+")}: it is an option of ${owners.join(", ")}`,
    }));
}

function hasValidation(config: TrainConfig): boolean {
  return config.validationData !== null || config.validationFraction > 0;
}

import { z } from "zod";
import { dataFormats } from "../data/formats/table.ts";
import type { Problem } from "../errors.ts";
import { METHOD_NAMES } from "../peft/methods.ts";
import { type LayerSelection, layerList, type ModuleSelection, modules, names } from "./config-values.ts";
import { RECOMPUTE_LEVELS, type Recompute } from "./graphs.ts";
import { type Check, type Layer, resolveSettings, type Setting, setting } from "./settings.ts";
import { TASK_NAMES } from "./tasks/table.ts";

const positive = z.number().positive();
const count = z.number().int().min(1);
const share = z.number().min(0).lt(1);
const text = z.string().min(1);
const MODEL = "Model";
const DATA = "Data";
const LORA = "Adapter";
const OPTIMIZER = "Optimizer";
const RUN = "Run";

/** Every option of a training run: each line is a flag (kebab-case), a config-file key (the name), a default, a
 *  help text and a field of `TrainConfig`. */
export const trainSettings = {
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
  device: setting(z.enum(["cpu", "cuda", "webgpu", "dml", "coreml"]), "cpu", {
    group: MODEL,
    description: "where to compute",
    mayChangeOnResume: true,
  }) as Setting<"cpu" | "cuda" | "webgpu" | "dml" | "coreml">,
  threads: setting(count.nullable(), null, {
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

  task: setting(z.enum(TASK_NAMES).nullable(), null, {
    group: MODEL,
    description: "what to train for",
    defaultText: "what model and data call for",
    knownAs: ["taskType"],
  }) as Setting<string | null>,

  data: setting(names, ["shell-recipes"], {
    group: DATA,
    value: "data",
    description: "training data: a bundled name, files (comma-separated) or a Hub data set id",
    expects: "a name, a file or a list of files",
    knownAs: ["dataset", "trainData", "trainFile", "dataPath", "datasetName"],
  }) as Setting<readonly string[]>,
  format: setting(z.enum(dataFormats.map((format) => format.name)).nullable(), null, {
    group: DATA,
    description: "format of the data",
    defaultText: "recognised from the fields",
    knownAs: ["dataFormat", "datasetType"],
  }) as Setting<string | null>,
  promptField: setting(text.nullable(), null, {
    group: DATA,
    value: "field",
    description: "field that holds the prompt",
    defaultText: "that of the format",
    knownAs: ["inputField", "promptColumn", "promptFeature"],
  }) as Setting<string | null>,
  completionField: setting(text.nullable(), null, {
    group: DATA,
    value: "field",
    description: "field that holds the completion",
    defaultText: "that of the format",
    knownAs: ["outputField", "responseField", "completionColumn", "completionFeature"],
  }) as Setting<string | null>,
  systemField: setting(text.nullable(), null, {
    group: DATA,
    value: "field",
    description: "field that holds the system message",
    defaultText: "that of the format",
  }) as Setting<string | null>,
  promptTemplate: setting(text.nullable(), null, {
    group: DATA,
    value: "template",
    description: "prompt made of fields, e.g. '{{tool}}: {{task}}'",
  }) as Setting<string | null>,
  messagesField: setting(text.nullable(), null, {
    group: DATA,
    value: "field",
    description: "field that holds the list of turns",
    defaultText: "that of the format",
    knownAs: ["chatFeature", "conversationField"],
  }) as Setting<string | null>,
  textField: setting(text.nullable(), null, {
    group: DATA,
    value: "field",
    description: "field that holds plain text, or the text that has a label",
    defaultText: "that of the format",
    knownAs: ["datasetTextField", "textFeature", "textColumn"],
  }) as Setting<string | null>,
  pairField: setting(text.nullable(), null, {
    group: DATA,
    value: "field",
    description: "field that holds the second text of a pair",
    defaultText: "that of the format",
    knownAs: ["textPairField", "sentence2Key"],
  }) as Setting<string | null>,
  labelField: setting(text.nullable(), null, {
    group: DATA,
    value: "field",
    description: "field that holds the label",
    defaultText: "that of the format",
    knownAs: ["labelColumn", "labelColumnName"],
  }) as Setting<string | null>,
  labels: setting(names.nullable(), null, {
    group: DATA,
    value: "names",
    description: "names of the classes, in the order of their numbers",
    defaultText: "the model's, else those in the data",
    expects: "a list of names",
    knownAs: ["labelNames", "labelList", "classNames"],
  }) as Setting<readonly string[] | null>,
  textUnit: setting(z.enum(["file", "paragraph", "line"]), "file", {
    group: DATA,
    description: "what is one example in a .txt file",
  }) as Setting<"file" | "paragraph" | "line">,
  validationData: setting(names.nullable(), null, {
    group: DATA,
    value: "data",
    description: "held-out data to choose the best checkpoint by",
    expects: "a file or a list of files",
    knownAs: ["evalData", "validFile", "valData", "validationFile"],
  }) as Setting<readonly string[] | null>,
  validationFraction: setting(share, 0, {
    group: DATA,
    value: "share",
    description: "share of the training data to hold out instead, chosen by the seed",
    knownAs: ["valSetSize", "validationSplit", "testSize"],
  }) as Setting<number>,
  testData: setting(names.nullable(), null, {
    group: DATA,
    value: "data",
    description: "data to report the loss on before and after",
    defaultText: "the test split of a bundled name",
    expects: "a file or a list of files",
    knownAs: ["testFile"],
  }) as Setting<readonly string[] | null>,
  limit: setting(count.nullable(), null, {
    group: DATA,
    value: "n",
    description: "use only the first n training examples",
    knownAs: ["maxSamples", "maxExamples", "maxTrainSamples"],
  }) as Setting<number | null>,
  maxLength: setting(z.number().int().min(2).nullable(), null, {
    group: DATA,
    value: "tokens",
    description: "longest example in tokens",
    defaultText: "512, or what the model has room for",
    knownAs: ["maxSeqLength", "sequenceLen", "cutoffLen", "blockSize", "contextLength"],
  }) as Setting<number | null>,
  truncation: setting(z.enum(["left", "drop", "error"]), "left", {
    group: DATA,
    description:
      "longer examples: cut the prompt from the left (labelled texts from the end), drop the example, or stop",
  }) as Setting<"left" | "drop" | "error">,
  lossOn: setting(z.enum(["completions", "all"]), "completions", {
    group: DATA,
    description: "tokens that the loss counts",
    knownAs: ["trainOnInputs", "maskPrompt", "completionOnlyLoss"],
  }) as Setting<"completions" | "all">,

  method: setting(text, "lora", {
    group: LORA,
    value: "methods",
    description: `how to adapt: ${METHOD_NAMES.join(", ")}; several joined by +`,
    expects: `names of methods joined by + (${METHOD_NAMES.join(", ")})`,
    knownAs: ["peftType", "fineTuneType"],
  }) as Setting<string>,
  rank: setting(count, 16, {
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
    knownAs: ["loraBias"],
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
    z.record(text, count),
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
  targetRank: setting(count.nullable(), null, {
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
  adapterSize: setting(count, 64, {
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
  prefixLength: setting(z.number().int().min(0), 20, {
    group: LORA,
    value: "n",
    description: "virtual tokens in front of the prompt (prefix methods)",
    knownAs: ["numVirtualTokens"],
  }) as Setting<number>,
  infixLength: setting(z.number().int().min(0), 0, {
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
  epochs: setting(positive, 1, {
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
  batchSize: setting(count, 8, {
    group: OPTIMIZER,
    value: "n",
    description: "examples in a micro-step",
    knownAs: ["perDeviceTrainBatchSize", "microBatchSize", "batch"],
  }) as Setting<number>,
  accumulation: setting(count, 1, {
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

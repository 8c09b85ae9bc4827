import { z } from "zod";
import { dataFormats } from "../../data/formats/table.ts";
import { TASK_NAMES } from "../tasks/table.ts";
import { type Setting, setting } from "./setting.ts";
import { count, names, share, text } from "./values.ts";

const MODEL = "Model";
const DATA = "Data";

/** Options of what is trained on: the task, the data, and how an example is made of a row. */
export const dataSettings = {
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
  onBadRow: setting(z.enum(["drop", "error"]).nullable(), null, {
    group: DATA,
    description: "rows that cannot be used: leave them out and count them, or stop",
    defaultText: "stop at malformed rows, leave out empty ones",
  }) as Setting<"drop" | "error" | null>,
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
};

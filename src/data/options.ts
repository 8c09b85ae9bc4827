import { z } from "zod";
import { type Check, type SettingsOf, setting } from "../options/setting.ts";
import { count, names, share, text } from "../options/values.ts";
import type { OnBadRow } from "./bad-rows.ts";
import { BUNDLED_NAMES, QUICKSTART_DATA } from "./bundled.ts";
import type { FieldMapping } from "./formats/format.ts";
import { dataFormats } from "./formats/table.ts";
import type { LossOn } from "./sequence.ts";

const DATA = "Data";

/** Which fields of a record mean what; null: the usual names of the format. */
export type FieldOptions = { readonly [K in keyof FieldMapping]-?: string | null };

const fieldSettings: SettingsOf<FieldOptions> = {
  promptField: setting(text.nullable(), null, {
    group: DATA,
    value: "field",
    description: "field that holds the prompt",
    defaultText: "that of the format",
    knownAs: ["inputField", "promptColumn", "promptFeature"],
  }),
  completionField: setting(text.nullable(), null, {
    group: DATA,
    value: "field",
    description: "field that holds the completion",
    defaultText: "that of the format",
    knownAs: ["outputField", "responseField", "completionColumn", "completionFeature"],
  }),
  systemField: setting(text.nullable(), null, {
    group: DATA,
    value: "field",
    description: "field that holds the system message",
    defaultText: "that of the format",
  }),
  promptTemplate: setting(text.nullable(), null, {
    group: DATA,
    value: "template",
    description: "prompt made of fields, e.g. '{{tool}}: {{task}}'",
  }),
  messagesField: setting(text.nullable(), null, {
    group: DATA,
    value: "field",
    description: "field that holds the list of turns",
    defaultText: "that of the format",
    knownAs: ["chatFeature", "conversationField"],
  }),
  referencesField: setting(text.nullable(), null, {
    group: DATA,
    value: "field",
    description: "field that holds a list of equally good answers, for exact match, BLEU and ROUGE",
    defaultText: "that of a bundled name",
  }),
  textField: setting(text.nullable(), null, {
    group: DATA,
    value: "field",
    description: "field that holds plain text, or the text that has a label",
    defaultText: "that of the format",
    knownAs: ["datasetTextField", "textFeature", "textColumn"],
  }),
  pairField: setting(text.nullable(), null, {
    group: DATA,
    value: "field",
    description: "field that holds the second text of a pair",
    defaultText: "that of the format",
    knownAs: ["textPairField", "sentence2Key"],
  }),
  labelField: setting(text.nullable(), null, {
    group: DATA,
    value: "field",
    description: "field that holds the label",
    defaultText: "that of the format",
    knownAs: ["labelColumn", "labelColumnName"],
  }),
};

/** What cannot stand together among the fields. */
export const checkFields: Check<Pick<FieldOptions, "promptTemplate" | "promptField">> = (
  { promptTemplate, promptField },
  where,
) =>
  promptTemplate !== null && promptField !== null
    ? [{ where: where("promptTemplate"), message: `cannot stand beside ${where("promptField")}` }]
    : [];

/** Which data, and how it is read. */
export interface DataOptions extends FieldOptions {
  /** Bundled names, files or Hub data set ids. */
  readonly data: readonly string[];
  /** null: recognised from the fields. */
  readonly format: string | null;
  /** What is one example in a .txt file. */
  readonly textUnit: "file" | "paragraph" | "line";
  /** Use only the first n examples. */
  readonly limit: number | null;
  /** null: stop at malformed rows, leave out empty ones. */
  readonly onBadRow: OnBadRow | null;
}

export const dataSettings: SettingsOf<DataOptions> = {
  data: setting(names, [QUICKSTART_DATA], {
    group: DATA,
    value: "data",
    description: `training data: a bundled name (${BUNDLED_NAMES.join(", ")}), files (comma-separated) or a Hub data set id`,
    expects: "a name, a file or a list of files",
    knownAs: ["dataset", "trainData", "trainFile", "dataPath", "datasetName"],
  }),
  format: setting(z.enum(dataFormats.map((format) => format.name)).nullable(), null, {
    group: DATA,
    description: "format of the data",
    defaultText: "recognised from the fields",
    knownAs: ["dataFormat", "datasetType"],
  }),
  ...fieldSettings,
  textUnit: setting(z.enum(["file", "paragraph", "line"]), "file", {
    group: DATA,
    description: "what is one example in a .txt file",
  }),
  limit: setting(count.nullable(), null, {
    group: DATA,
    value: "n",
    description: "use only the first n training examples",
    knownAs: ["maxSamples", "maxExamples", "maxTrainSamples"],
  }),
  onBadRow: setting(z.enum(["drop", "error"]).nullable(), null, {
    group: DATA,
    description: "rows that cannot be used: leave them out and count them, or stop",
    defaultText: "stop at malformed rows, leave out empty ones",
  }),
};

/** How examples are held out. */
export interface HoldOutOptions {
  readonly validationData: readonly string[] | null;
  readonly validationFraction: number;
  readonly testData: readonly string[] | null;
}

export const holdOutSettings: SettingsOf<HoldOutOptions> = {
  validationData: setting(names.nullable(), null, {
    group: DATA,
    value: "data",
    description: "held-out data to choose the best checkpoint by",
    expects: "a file or a list of files",
    knownAs: ["evalData", "validFile", "valData", "validationFile"],
  }),
  validationFraction: setting(share, 0, {
    group: DATA,
    value: "share",
    description: "share of the training data to hold out instead, chosen by the seed",
    knownAs: ["valSetSize", "validationSplit", "testSize"],
  }),
  testData: setting(names.nullable(), null, {
    group: DATA,
    value: "data",
    description: "data to report the loss on before and after",
    defaultText: "the test split of a bundled name",
    expects: "a file or a list of files",
    knownAs: ["testFile"],
  }),
};

/** How rows become examples. */
export interface ExampleOptions {
  /** Tokens; null: 512, or what the model has room for. */
  readonly maxLength: number | null;
  /** What becomes of longer examples. */
  readonly truncation: "left" | "drop" | "error";
  /** Tokens that the loss counts. */
  readonly lossOn: LossOn;
}

export const exampleSettings: SettingsOf<ExampleOptions> = {
  maxLength: setting(z.number().int().min(2).nullable(), null, {
    group: DATA,
    value: "tokens",
    description: "longest example in tokens",
    defaultText: "512, or what the model has room for",
    knownAs: ["maxSeqLength", "sequenceLen", "cutoffLen", "blockSize", "contextLength"],
  }),
  truncation: setting(z.enum(["left", "drop", "error"]), "left", {
    group: DATA,
    description:
      "longer examples: cut the prompt from the left (labelled texts from the end), drop the example, or stop",
  }),
  lossOn: setting(z.enum(["completions", "all"]), "completions", {
    group: DATA,
    description: "tokens that the loss counts",
    knownAs: ["trainOnInputs", "maskPrompt", "completionOnlyLoss"],
  }),
};

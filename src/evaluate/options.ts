import { z } from "zod";
import { BUNDLED_NAMES, QUICKSTART_DATA } from "../data/bundled.ts";
import {
  checkFields,
  type DataOptions,
  dataSettings,
  type ExampleOptions,
  exampleSettings,
} from "../data/options.ts";
import { type Check, resolveSettings, type SettingsOf, setting } from "../options/setting.ts";
import { names } from "../options/values.ts";
import { type DeviceOptions, deviceSettings } from "../runtime/device.ts";
import { trainSettings } from "../train/config/config.ts";

/** What is measured, and on what: complete. */
export interface EvaluationChoice extends DataOptions, ExampleOptions, DeviceOptions {
  /** Examples side by side. It does not change the measures. */
  readonly batchSize: number;
  /** Also answer every prompt greedily and compare with the references. */
  readonly generate: boolean;
  /** Most tokens of an answer. */
  readonly maxTokens: number;
}

const BUNDLED = `a bundled name (its test split; ${BUNDLED_NAMES.join(", ")})`;

export const evaluationSettings: SettingsOf<EvaluationChoice> = {
  ...dataSettings,
  data: setting(names, [QUICKSTART_DATA], {
    group: "Data",
    value: "data",
    description: `data to measure on: ${BUNDLED}, files (comma-separated) or a Hub data set id`,
    expects: "a name, a file or a list of files",
  }),
  ...exampleSettings,
  ...deviceSettings,
  batchSize: trainSettings.batchSize,
  generate: setting(z.boolean(), false, {
    group: "Measures",
    description: "also answer every prompt: exact match, BLEU, ROUGE-1 and ROUGE-L",
  }),
  maxTokens: setting(z.number().int().min(1), 128, {
    group: "Measures",
    value: "n",
    description: "most tokens of an answer",
    expects: "a whole number from 1",
    knownAs: ["maxNewTokens"],
  }),
};

const schema: z.ZodObject<SettingsOf<EvaluationChoice>> = z.strictObject(evaluationSettings);

const rules: Check<EvaluationChoice> = (choice, where, isGiven) => [
  ...checkFields(choice, where, isGiven),
  ...(choice.referencesField !== null && !choice.generate
    ? [{ where: where("referencesField"), message: "has no effect without generate" }]
    : []),
];

/** The options of an evaluation among others, completed. @throws InputError with every one that does not hold */
export function evaluationChoice(options: Partial<EvaluationChoice>): EvaluationChoice {
  const own = Object.entries(options).filter(([key]) => key in evaluationSettings);
  const layer = { values: Object.fromEntries(own), where: (key: string) => key };
  return resolveSettings(schema, [layer], "the evaluation options do not hold:", rules);
}

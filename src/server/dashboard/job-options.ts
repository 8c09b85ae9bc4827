import { describeSettings } from "../../options/setting.ts";
import { METHOD_NAMES, methodsWith } from "../../peft/methods/table.ts";
import { type TrainConfig, trainConfigSchema } from "../../train/config/config.ts";
import type { JobOption } from "./shapes.ts";

/** What the page's form asks for: the rest has its default. */
const SHOWN = [
  "method",
  "rank",
  "epochs",
  "batchSize",
  "learningRate",
  "maxLength",
  "validationFraction",
  "promptField",
  "completionField",
] as const satisfies (keyof TrainConfig)[];

/** Options of training that the page offers, described as everywhere else. */
export function shownJobOptions(): JobOption[] {
  const known = new Map(describeSettings(trainConfigSchema).map((info) => [info.key, info]));
  return SHOWN.flatMap((key) => {
    const info = known.get(key);
    if (info === undefined) return [];
    const owners = methodsWith(key);
    return {
      key,
      group: info.help.group,
      description: info.help.description,
      isNumber: info.kind === "number",
      choices: key === "method" ? METHOD_NAMES : info.choices,
      defaultText: info.nullable ? (info.help.defaultText ?? "") : null,
      methods: owners.length === 0 ? null : owners,
    };
  });
}

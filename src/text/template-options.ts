import { z } from "zod";
import { type SettingsOf, setting } from "../options/setting.ts";

/** Variables for a chat template: an object, or the text of one. */
export type TemplateArgs = Readonly<Record<string, unknown>>;

const args: z.ZodType<TemplateArgs, unknown> = z
  .union([z.string(), z.record(z.string(), z.unknown())])
  .transform((value, context): TemplateArgs => {
    if (typeof value !== "string") return value;
    try {
      const parsed: unknown = JSON.parse(value);
      if (typeof parsed === "object" && parsed !== null && !Array.isArray(parsed))
        return parsed as TemplateArgs;
    } catch {
      // said below
    }
    context.issues.push({
      code: "custom",
      message: `expected ${EXPECTED}, got ${JSON.stringify(value)}`,
      input: value,
    });
    return {};
  });

const EXPECTED = `a JSON object such as '{"enable_thinking": false}'`;
const PROMPT = "Prompt";

const day: z.ZodString = z.string().refine((text) => !Number.isNaN(Date.parse(text)), {
  message: "expected a day such as 2026-11-28, or a day and a time",
});

/** What a chat template is given beside the messages. */
export interface TemplateOptions {
  /** Variables of the chat template, over those that an adapter was trained with. */
  readonly templateArgs: TemplateArgs;
  /** What the chat template takes for now (`strftime_now`). */
  readonly templateDate: string | null;
}

export const templateSettings: SettingsOf<TemplateOptions> = {
  templateArgs: setting(
    args,
    {},
    {
      group: PROMPT,
      value: "json",
      description: `variables of the chat template, ${EXPECTED}`,
      expects: EXPECTED,
      defaultText: "those that the adapter was trained with",
      knownAs: ["chatTemplateKwargs", "chatTemplateArgs"],
    },
  ),
  templateDate: setting(day.nullable(), null, {
    group: PROMPT,
    value: "day",
    description: "day that a chat template takes for today, where it writes the date",
    expects: "a day such as 2026-11-28",
    defaultText: "today; of a resumed run its first day",
  }),
};

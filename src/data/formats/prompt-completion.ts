import type { Message } from "../../text/messages.ts";
import { completionField, field, fillTemplate, optionalTextField, textField } from "./fields.ts";
import type { DataFormat } from "./format.ts";

/** A prompt and what the model should answer, in two fields: `prompt` and `completion` unless mapped. */
export const promptCompletion: DataFormat = {
  name: "prompt-completion",
  description: "fields prompt and completion, or those named by the mapping",
  detect: (record) => field(record, "prompt") !== undefined && field(record, "completion") !== undefined,
  parse(record, mapping, report) {
    const prompt =
      mapping.promptTemplate === undefined
        ? textField(record, mapping.promptField ?? "prompt", report)
        : fillTemplate(mapping.promptTemplate, record, report);
    const completion = completionField(record, mapping.completionField ?? "completion", report);
    const system =
      mapping.systemField === undefined ? "" : optionalTextField(record, mapping.systemField, report);
    if (prompt === null || completion === null || system === null) return null;
    return { kind: "conversation", messages: turns(system, prompt, completion) };
  },
};

/** One exchange; the system turn only where there is one. */
export function turns(system: string, prompt: string, completion: string): Message[] {
  const exchange: Message[] = [
    { role: "user", content: prompt },
    { role: "assistant", content: completion },
  ];
  return system === "" ? exchange : [{ role: "system", content: system }, ...exchange];
}

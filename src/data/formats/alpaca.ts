import { completionField, field, optionalTextField, textField } from "./fields.ts";
import type { DataFormat } from "./format.ts";
import { turns } from "./prompt-completion.ts";

/** Alpaca's fields: instruction, input (may be empty or missing), output. The prompt is the instruction, a blank line
 *  and the input; Alpaca's English preamble is not added, because a chat template already frames the turn. */
export const alpaca: DataFormat = {
  name: "alpaca",
  description: "fields instruction, input (optional) and output",
  detect: (record) => field(record, "instruction") !== undefined && field(record, "output") !== undefined,
  parse(record, mapping, report) {
    const instruction = textField(record, mapping.promptField ?? "instruction", report);
    const input = optionalTextField(record, "input", report);
    const output = completionField(record, mapping.completionField ?? "output", report);
    const system =
      mapping.systemField === undefined ? "" : optionalTextField(record, mapping.systemField, report);
    if (instruction === null || input === null || output === null || system === null) return null;
    const prompt = input === "" ? instruction : `${instruction}\n\n${input}`;
    return { kind: "conversation", messages: turns(system, prompt, output) };
  },
};

import type { Message } from "../../text/messages.ts";
import { completionField, field, kindOf, optionalTextField, textField } from "./fields.ts";
import type { DataFormat, DataRecord, Report } from "./format.ts";
import { refusesPreference } from "./preferences.ts";
import { exchange, plainRow } from "./prompt-completion.ts";

/** Alpaca's fields: instruction, input (may be empty or missing), output; beside them a `system` message and earlier turns
 *  (`history`, a list of question and answer), which are learned too, as LLaMA-Factory has it. The prompt is the instruction, a blank
 *  line and the input; Alpaca's English preamble is not added, because a chat template already frames the turn. */
export const alpaca: DataFormat = {
  name: "alpaca",
  description: "fields instruction, input (optional) and output",
  fields: ["promptField", "completionField", "systemField"],
  detect: (record) => field(record, "instruction") !== undefined && field(record, "output") !== undefined,
  parse(record, mapping, report) {
    if (refusesPreference(record, mapping, report)) return null;
    const instruction = textField(record, mapping.promptField ?? "instruction", report);
    const input = optionalTextField(record, "input", report);
    const output = completionField(record, mapping.completionField ?? "output", report);
    const history = earlierTurns(record, report);
    if (instruction === null || input === null || output === null || history === null) return null;
    const prompt = input === "" ? instruction : `${instruction}\n\n${input}`;
    return plainRow(record, [...history, ...exchange(prompt, output)], mapping, report);
  },
};

function earlierTurns(record: DataRecord, report: Report): Message[] | null {
  const history = field(record, "history") ?? [];
  if (!Array.isArray(history)) {
    report(`field "history": expected a list of question and answer, got ${kindOf(history)}`);
    return null;
  }
  const turns = history.map((pair: unknown, i) => {
    const [question, answer, ...more] = Array.isArray(pair) ? (pair as unknown[]) : [];
    if (typeof question === "string" && typeof answer === "string" && more.length === 0)
      return exchange(question, answer);
    report(`history[${i}]: expected a question and an answer, got ${kindOf(pair)}`);
    return null;
  });
  return turns.some((turn) => turn === null) ? null : turns.flatMap((turn) => turn ?? []);
}

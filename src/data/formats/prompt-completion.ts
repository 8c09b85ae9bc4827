import type { Message } from "../../text/messages.ts";
import { chatRow } from "./chat-row.ts";
import { completionField, field, fillTemplate, textField } from "./fields.ts";
import type { Conversation, DataFormat, DataRecord, FieldMapping, Report } from "./format.ts";
import { CHAT_NAMES } from "./messages.ts";
import { refusesPreference } from "./preferences.ts";
import { parseList, parseTurns, type Turns } from "./turns.ts";

/** A prompt and what the model should answer, in two fields: `prompt` and `completion` unless mapped. Both are texts, or lists of
 *  `{role, content}`: then the assistant's turns of the completion are learned. A `system` message may stand beside them. */
export const promptCompletion: DataFormat = {
  name: "prompt-completion",
  description: "fields prompt and completion, or those named by the mapping",
  fields: ["promptField", "completionField", "systemField", "promptTemplate", "referencesField"],
  detect: (record) => field(record, "prompt") !== undefined && field(record, "completion") !== undefined,
  parse(record, mapping, report) {
    if (refusesPreference(record, mapping, report)) return null;
    const [promptName, completionName] = [
      mapping.promptField ?? "prompt",
      mapping.completionField ?? "completion",
    ];
    const isList = (name: string): boolean => Array.isArray(field(record, name));
    if (isList(completionName) || (mapping.promptTemplate === undefined && isList(promptName))) {
      const turns = listedTurns(record, promptName, completionName, mapping, report);
      return turns && chatRow(record, turns, mapping, report);
    }
    const prompt =
      mapping.promptTemplate === undefined
        ? textField(record, promptName, report)
        : fillTemplate(mapping.promptTemplate, record, report);
    const completion = completionField(record, completionName, report);
    if (prompt === null || completion === null) return null;
    return plainRow(record, exchange(prompt, completion), mapping, report);
  },
};

/** One question and its answer. */
export function exchange(prompt: string, completion: string): Message[] {
  return [
    { role: "user", content: prompt },
    { role: "assistant", content: completion },
  ];
}

/** The row of turns that were plain texts. Only one prompt with its answer can be taken as it stands. */
export function plainRow(
  record: DataRecord,
  messages: readonly Message[],
  mapping: FieldMapping,
  report: Report,
): Conversation | null {
  const row = chatRow(record, { messages, unlearned: [] }, mapping, report);
  return row?.messages.length === 2 ? { ...row, isPlain: true } : row;
}

/** Turns of a prompt and a completion of which at least one is a list; of the prompt none is learned. */
function listedTurns(
  record: DataRecord,
  promptName: string,
  completionName: string,
  mapping: FieldMapping,
  report: Report,
): Turns | null {
  const before =
    Array.isArray(field(record, promptName)) && mapping.promptTemplate === undefined
      ? parseList(record, promptName, CHAT_NAMES, report)
      : textTurn("user", promptText(record, promptName, mapping, report));
  const after = Array.isArray(field(record, completionName))
    ? parseTurns(record, completionName, CHAT_NAMES, report)
    : textTurn("assistant", completionField(record, completionName, report));
  if (before === null || after === null) return null;
  const given = before.messages.flatMap(({ role }, i) => (role === "assistant" ? [i] : []));
  return {
    messages: [...before.messages, ...after.messages],
    unlearned: [...given, ...after.unlearned.map((i) => i + before.messages.length)],
  };
}

function promptText(
  record: DataRecord,
  name: string,
  { promptTemplate }: FieldMapping,
  report: Report,
): string | null {
  return promptTemplate === undefined
    ? textField(record, name, report)
    : fillTemplate(promptTemplate, record, report);
}

function textTurn(role: "user" | "assistant", content: string | null): Turns | null {
  return content === null ? null : { messages: [{ role, content }], unlearned: [] };
}

import { contentText, type Message } from "../../text/messages.ts";
import { field, kindOf, optionalTextField } from "./fields.ts";
import type { Conversation, DataRecord, FieldMapping, Report } from "./format.ts";
import type { Turns } from "./turns.ts";

/** The row of some turns, with what stands beside them in the record: a system message, tools, template arguments. Null where
 *  something of it is wrong, which is reported. */
export function chatRow(
  record: DataRecord,
  { messages, unlearned }: Turns,
  mapping: FieldMapping,
  report: Report,
): Conversation | null {
  const system = optionalTextField(record, mapping.systemField ?? "system", report);
  const tools = jsonField(record, "tools", Array.isArray, "a list", report);
  const templateArgs = jsonField(record, "chat_template_kwargs", isObject, "an object", report);
  const references = listedReferences(record, mapping.referencesField, report);
  if (field(record, "functions"))
    report('field "functions" is not used: descriptions of tools are read from "tools"');
  if (system === null || tools === null || templateArgs === null || references === null) return null;
  if (field(record, "functions")) return null;
  const all = withSystem(system, messages, report);
  if (all === null) return null;
  const added = all.length - messages.length;
  return {
    kind: "conversation",
    messages: all,
    ...(unlearned.length > 0 ? { unlearned: unlearned.map((i) => i + added) } : {}),
    ...(tools === undefined ? {} : { tools }),
    ...(templateArgs === undefined ? {} : { templateArgs }),
    ...(references === undefined ? {} : { references }),
  };
}

/** The messages after a system message that stood beside them. */
function withSystem(system: string, messages: readonly Message[], report: Report): readonly Message[] | null {
  if (system === "") return messages;
  const [first] = messages;
  if (first?.role !== "system") return [{ role: "system", content: system }, ...messages];
  if (contentText(first) === system) return messages;
  report("has two system messages, one beside the list of turns and one in it");
  return null;
}

/** Equally good answers of a row; undefined where the field is missing or null, null where it is wrong, which is reported. */
function listedReferences(
  record: DataRecord,
  name: string | undefined,
  report: Report,
): readonly string[] | null | undefined {
  const value = (name === undefined ? undefined : field(record, name)) ?? undefined;
  if (value === undefined) return undefined;
  if (Array.isArray(value) && value.every((text) => typeof text === "string" && text.trim() !== ""))
    return value as string[];
  report(`field "${name}": expected a list of texts, got ${kindOf(value)}`);
  return null;
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** A field that holds JSON, or the text of it; undefined where it is missing or null, null where it is wrong. */
function jsonField<T>(
  record: DataRecord,
  name: string,
  fits: (value: unknown) => value is T,
  expected: string,
  report: Report,
): T | null | undefined {
  const given = field(record, name) ?? undefined;
  const value = typeof given === "string" ? parsed(given) : given;
  if (value === undefined || value === null || fits(value)) return value ?? undefined;
  report(
    `field "${name}": expected ${expected}, got ${typeof given === "string" ? JSON.stringify(given.slice(0, 40)) : kindOf(given)}`,
  );
  return null;
}

function parsed(text: string): unknown {
  if (text.trim() === "") return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

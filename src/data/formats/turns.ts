import type { Message, Role } from "../../text/messages.ts";
import { field, kindOf, listFields } from "./fields.ts";
import type { DataRecord, Report } from "./format.ts";

/** How a format writes a turn. */
export interface TurnNames {
  readonly roleKey: string;
  readonly contentKey: string;
  /** The format's role names → ours. */
  readonly roles: ReadonlyMap<string, Role>;
}

/** The turns in a record's list. Reports every faulty turn, and a conversation in which nobody answers; null then. */
export function parseTurns(
  record: DataRecord,
  name: string,
  names: TurnNames,
  report: Report,
): Message[] | null {
  const list = field(record, name);
  if (list === undefined) report(`no field "${name}"; the record has ${listFields(record)}`);
  else if (!Array.isArray(list)) report(`field "${name}": expected a list of turns, got ${kindOf(list)}`);
  if (!Array.isArray(list)) return null;
  const parsed = list.map((turn: unknown, i) =>
    parseTurn(turn, names, (message) => report(`${name}[${i}]: ${message}`)),
  );
  const messages = parsed.filter((message) => message !== null);
  if (messages.length < parsed.length) return null;
  if (messages.some((message) => message.role === "assistant")) return messages;
  report(`"${name}" has no assistant turn: there is nothing to learn from it`);
  return null;
}

function parseTurn(turn: unknown, names: TurnNames, report: Report): Message | null {
  if (typeof turn !== "object" || turn === null || Array.isArray(turn)) {
    report(`expected an object, got ${kindOf(turn)}`);
    return null;
  }
  const record = turn as DataRecord;
  const role = parseRole(record, names, report);
  const content = parseContent(record, names.contentKey, report);
  if (role === null || content === null) return null;
  if (role === "assistant" && content.trim() === "") {
    report("the assistant's turn is empty: there is nothing to learn from it");
    return null;
  }
  return { role, content };
}

function parseRole(turn: DataRecord, names: TurnNames, report: Report): Role | null {
  const name = field(turn, names.roleKey);
  const role = typeof name === "string" ? names.roles.get(name) : undefined;
  if (role !== undefined) return role;
  const known = [...names.roles.keys()].join(", ");
  if (name === undefined) report(`no "${names.roleKey}"; the turn has ${listFields(turn)}`);
  else report(`unknown "${names.roleKey}" ${JSON.stringify(name)}; known: ${known}`);
  return null;
}

/** Text, or a list of text parts as OpenAI's clients write it. */
function parseContent(turn: DataRecord, key: string, report: Report): string | null {
  const content = field(turn, key);
  if (typeof content === "string") return content;
  const parts = Array.isArray(content) ? content.map(partText) : [];
  if (parts.length > 0 && parts.every((part) => part !== null)) return parts.join("");
  if (content === undefined) report(`no "${key}"; the turn has ${listFields(turn)}`);
  else if (parts.length > 0) report(`"${key}": only parts of type "text" can be trained on`);
  else if (field(turn, "tool_calls"))
    report(`"${key}" is empty: turns that are tool calls are not supported`);
  else report(`"${key}": expected text, got ${kindOf(content)}`);
  return null;
}

function partText(part: unknown): string | null {
  const { type, text } = (part ?? {}) as { type?: unknown; text?: unknown };
  return type === "text" && typeof text === "string" ? text : null;
}

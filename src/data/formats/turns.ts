import { doubleOf } from "../../text/exact-number.ts";
import type { Message, MessageContent, Role, TextPart } from "../../text/messages.ts";
import { contentText, REASONING_FIELDS } from "../../text/messages.ts";
import { field, kindOf, listFields } from "./fields.ts";
import type { Conversation, DataRecord, Report } from "./format.ts";

/** How a format writes a turn. */
export interface TurnNames {
  readonly roleKey: string;
  readonly contentKey: string;
  /** The format's role names → ours. */
  readonly roles: ReadonlyMap<string, Role>;
}

/** Turns, and which of the assistant's are marked as read only. */
export type Turns = Required<Pick<Conversation, "messages" | "unlearned">>;

/** The turns in a record's list. Reports every faulty turn, and a conversation in which nobody answers; null then. */
export function parseTurns(record: DataRecord, name: string, names: TurnNames, report: Report): Turns | null {
  const turns = parseList(record, name, names, report);
  if (turns === null || turns.messages.some((message) => message.role === "assistant")) return turns;
  report(`"${name}" has no assistant turn: there is nothing to learn from it`, "empty");
  return null;
}

/** The same where nobody needs to answer. */
export function parseList(record: DataRecord, name: string, names: TurnNames, report: Report): Turns | null {
  const list = field(record, name);
  if (list === undefined) report(`no field "${name}"; the record has ${listFields(record)}`);
  else if (!Array.isArray(list)) report(`field "${name}": expected a list of turns, got ${kindOf(list)}`);
  if (!Array.isArray(list)) return null;
  const parsed = list.map((turn: unknown, i) =>
    parseTurn(turn, names, (message, reason) => report(`${name}[${i}]: ${message}`, reason)),
  );
  const turns = parsed.filter((turn) => turn !== null);
  if (turns.length < parsed.length) return null;
  return {
    messages: turns.map(({ message }) => message),
    unlearned: turns.flatMap(({ isLearned }, i) => (isLearned ? [] : [i])),
  };
}

interface Turn {
  readonly message: Message;
  /** Nobody says that it is only to be read. */
  readonly isLearned: boolean;
}

function parseTurn(turn: unknown, names: TurnNames, report: Report): Turn | null {
  if (typeof turn !== "object" || turn === null || Array.isArray(turn)) {
    report(`expected an object, got ${kindOf(turn)}`);
    return null;
  }
  const record = turn as DataRecord;
  const role = parseRole(record, names, report);
  if (role === null) return null;
  const content = parseContent(record, names.contentKey, report);
  const isLearned = parseMarks(record, role, report);
  if (content === "wrong" || isLearned === null) return null;
  const named = (key: string, value: unknown): [string, unknown] =>
    key === names.roleKey ? ["role", role] : key === names.contentKey ? ["content", content] : [key, value];
  // In their order, which a template that prints whole messages shows.
  const message = Object.fromEntries(
    Object.entries(record).map(([key, value]) => named(key, value)),
  ) as Message;
  if (role !== "assistant" || saysSomething(message)) return { message, isLearned };
  report("the assistant's turn is empty: there is nothing to learn from it", "empty");
  return null;
}

/** A text, or another field with something to say: calls, thoughts. */
function saysSomething(message: Message): boolean {
  if (contentText(message).trim() !== "") return true;
  return Object.entries(message).some(
    ([name, value]) =>
      name !== "role" &&
      name !== "content" &&
      ((typeof value === "string" && value.trim() !== "") || (Array.isArray(value) && value.length > 0)),
  );
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

/** Fields by which a turn says something without a content. */
const SPEAKING: readonly string[] = ["tool_calls", ...REASONING_FIELDS];

/** Text, a list of text parts as OpenAI's clients write it, or nothing where the turn calls a tool. */
function parseContent(
  turn: DataRecord,
  key: string,
  report: Report,
): MessageContent | undefined | "wrong" | string {
  const content = field(turn, key);
  if (typeof content === "string") return content;
  if ((content === null || content === undefined) && SPEAKING.some((name) => field(turn, name)))
    return content;
  const parts = Array.isArray(content) ? content.map(textPart) : [];
  if (parts.length > 0 && parts.every((part) => part !== null)) return parts;
  if (content === undefined) report(`no "${key}"; the turn has ${listFields(turn)}`);
  else if (parts.length > 0) report(`"${key}": only parts of type "text" can be trained on`);
  else report(`"${key}": expected text, got ${kindOf(content)}`);
  return "wrong";
}

function textPart(part: unknown): TextPart | null {
  const { type, text, value } = (part ?? {}) as { type?: unknown; text?: unknown; value?: unknown };
  const said = text ?? value;
  return type === "text" && typeof said === "string" ? { type, text: said } : null;
}

/** Fields that say whether a turn counts in the loss: OpenAI's `weight` (0 or 1), and yes or no as others have it. */
const MARKS: readonly string[] = ["train", "training", "loss"];

/** Whether a turn is to be learned; null where a mark is none, which is reported. */
function parseMarks(turn: DataRecord, role: Role, report: Report): boolean | null {
  const given = field(turn, "weight") ?? null;
  const weight = doubleOf(given) ?? given;
  const marks: [string, unknown][] = MARKS.map((name) => [name, field(turn, name) ?? null]);
  const wrong = marks.find(([, value]) => value !== null && typeof value !== "boolean");
  if (wrong) report(`"${wrong[0]}": expected true or false, got ${JSON.stringify(wrong[1])}`);
  const isWeight = weight === null || Number(weight) === 0 || Number(weight) === 1;
  if (!isWeight) report(`"weight": expected 0 or 1, got ${JSON.stringify(weight)}`);
  if (wrong || !isWeight) return null;
  const isExcluded = (weight !== null && Number(weight) === 0) || marks.some(([, value]) => value === false);
  const asked = [...marks, ["weight", weight === null ? null : Number(weight) === 1]].find(
    ([, v]) => v === true,
  );
  if (role === "assistant" || asked === undefined) return !isExcluded || role !== "assistant";
  report(`"${asked[0]}": a turn of the ${role} cannot be learned, only those of the assistant`);
  return null;
}

import { latin1Of } from "../../io/bytes.ts";
import type { DataRecord } from "../formats/format.ts";
import type { Where } from "../place.ts";
import type { ReadContext, SourceRecord } from "../record.ts";
import { type JsonStretch, jsonElements, jsonObjects, outermost } from "./json-elements.ts";
import { asRecord, parseRecord, parseValue, readJsonLines } from "./jsonl.ts";

/** JSON: an array of objects, `{"data": [objects]}`, one object, objects one after another, or one list of turns. JSON Lines under
 *  this extension is read as such. Elements are read one by one: a file may be larger than memory. */
export async function* readJson(file: string, context: ReadContext): AsyncGenerator<SourceRecord> {
  const first = await firstCharacter(file, context);
  if (first === null) return;
  if (first === "[") {
    yield* listed(file, context, null);
    return;
  }
  if (first !== "{") {
    context.problems.add(file, 'expected an array of objects, or an object with an array "data"');
    return;
  }
  const shape = await outermost(file, context);
  if (shape === "lines") yield* readJsonLines(file, context);
  else if (shape === "data") yield* listed(file, context, "data");
  else if (shape === "objects") yield* parsed(jsonObjects(file, context), file, context);
  else if (shape !== null) yield* parsed([shape], file, context);
}

async function* parsed(
  stretches: Iterable<JsonStretch> | AsyncIterable<JsonStretch>,
  file: string,
  context: ReadContext,
): AsyncGenerator<SourceRecord> {
  for await (const { text, line } of stretches) {
    const where: Where = { file, line, unit: "line" };
    const record = parseRecord(text, where, context);
    if (record !== null) yield { record, where };
  }
}

/** The first character that is no white space; null for a file without one. A byte-order mark counts as white space. */
async function firstCharacter(file: string, { files }: ReadContext): Promise<string | null> {
  const opened = await files.open(file);
  try {
    const bytes = new Uint8Array(Math.min(65_536, opened.sizeBytes));
    await opened.read(0, bytes);
    const text = latin1Of(bytes).replace(/^(\xef\xbb\xbf|\xff\xfe|\xfe\xff)/, "");
    return /[^\s\0]/.exec(text)?.[0] ?? null;
  } finally {
    await opened.close();
  }
}

/** The elements of the outermost array, or of the array under a key of the outermost object. */
async function* listed(file: string, context: ReadContext, key: string | null): AsyncGenerator<SourceRecord> {
  const turns: unknown[] = [];
  let start = 0;
  for await (const { text, line } of jsonElements(file, context, key)) {
    const where: Where = { file, line, unit: "line" };
    const value = parseValue(text, where, context);
    if (value === undefined) continue;
    if (turns.length > 0 || (start === 0 && isTurn(value))) {
      if (turns.length === 0) start = line;
      turns.push(value);
      continue;
    }
    start = -1;
    const record = asRecord(value, where, context);
    if (record !== null) yield { record, where };
  }
  if (turns.length > 0)
    yield { record: { messages: turns.map(asTurn) }, where: { file, line: start, unit: "line" } };
}

/** A turn of a conversation, not a record: who says what. */
function isTurn(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const has = (key: string): boolean => Object.hasOwn(value, key);
  return (has("role") && (has("content") || has("tool_calls"))) || (has("from") && has("value"));
}

/** ShareGPT's names as OpenAI's, so that one list needs one format. */
function asTurn(value: unknown): unknown {
  if (typeof value !== "object" || value === null || Object.hasOwn(value, "role")) return value;
  const { from, value: content, ...others } = value as DataRecord;
  const roles: Readonly<Record<string, string>> = {
    human: "user",
    gpt: "assistant",
    chatgpt: "assistant",
    observation: "tool",
  };
  return { role: roles[String(from)] ?? from, content, ...others };
}

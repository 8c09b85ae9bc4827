import { expect, test } from "vitest";
import type { Conversation } from "../../src/data/formats/format.ts";
import { leastTokens, shortened } from "../../src/data/long-rows.ts";
import { contentLength } from "../../src/text/messages.ts";
import { chatCodec } from "./codecs.ts";

const { tokenizer } = chatCodec();
const MAX = 8;
const limit = MAX * tokenizer.longestToken;

function chat(prompt: string, answer: string): Conversation {
  const messages = [
    { role: "user" as const, content: prompt },
    { role: "assistant" as const, content: answer },
  ];
  return { kind: "conversation", messages };
}

test("rows that may fit stay as they are", () => {
  const row = chat("a".repeat(limit), "b".repeat(limit));
  expect(shortened(row, tokenizer, MAX)).toBe(row);
  expect(shortened({ kind: "text", text: "a".repeat(9 * limit) }, tokenizer, MAX)).toMatchObject({
    kind: "text",
  });
});

test("a prompt far beyond the limit keeps its end, more than truncation would leave of it", () => {
  const row = chat(`${"a".repeat(9 * limit)}end`, "yes");
  const short = shortened(row, tokenizer, MAX) as Conversation;
  expect(contentLength(short.messages)).toBe(2 * limit);
  expect(short.messages[0]?.content).toMatch(/a+end$/);
  expect(short.messages[1]).toBe(row.messages[1]);
  const ids = tokenizer.encode(row.messages[0]?.content as string);
  const kept = tokenizer.encode(short.messages[0]?.content as string);
  expect(kept.slice(-MAX)).toEqual(ids.slice(-MAX));
  expect(ids.length).toBeGreaterThanOrEqual(leastTokens(row, tokenizer));
});

test("a message is never emptied; an answer that alone is too long cannot be kept", () => {
  const messages = [
    { role: "system" as const, content: "a".repeat(limit) },
    ...chat("x".repeat(3 * limit), "y").messages,
  ];
  const short = shortened({ kind: "conversation", messages }, tokenizer, MAX) as Conversation;
  expect(short.messages[0]?.content).toBe("a");
  expect(shortened(chat("x", "y".repeat(3 * limit)), tokenizer, MAX)).toBeNull();
});

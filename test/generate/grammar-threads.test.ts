import { expect, test } from "vitest";
import type { AnswerForm } from "../../src/generate/answer-form.ts";
import { createGrammar } from "../../src/generate/grammar.ts";
import { type GrammarModel, grammarPlace } from "../../src/generate/grammar-threads.ts";
import { createTokenizer } from "../../src/text/tokenizer.ts";
import { tinySource } from "../text/fixtures.ts";

const tokenizer = createTokenizer(tinySource("qwen2"));
const model: GrammarModel = {
  tokenizer,
  vocabSize: tokenizer.vocabSize,
  eosIds: [tokenizer.eosId as number],
  shown: [],
};
const text = (maxLength: number): AnswerForm => ({ kind: "json", schema: { type: "string", maxLength } });

test("a form that is new is compiled where nobody waits; one that is known stays where it is", () => {
  const first = grammarPlace(text(1), model);
  first.leave();
  const again = grammarPlace(text(2), model); // nobody is there
  expect(again.thread).toBe(first.thread);
  const other = grammarPlace(text(3), model);
  expect(other.thread).not.toBe(first.thread);
  const known = grammarPlace(text(1), model);
  expect(known.thread).toBe(first.thread);
  expect(known.tokens).toBe(first.tokens);
  const more = grammarPlace(text(4), model); // two answers there, one here
  expect(more.thread).toBe(other.thread);
  for (const place of [again, other, known, more]) for (let i = 0; i < 2; i++) place.leave();
  const shown = grammarPlace(text(1), { ...model, shown: ["<tool_call>"] });
  expect(shown.tokens).not.toBe(first.tokens);
  shown.leave();
});

test("an answer that is over leaves its place", async () => {
  const grammar = await createGrammar(text(5), model);
  const { thread } = grammarPlace(text(5), model);
  const elsewhere = grammarPlace(text(6), model).thread;
  expect(elsewhere).not.toBe(thread);
  grammar.end();
  grammar.end();
  await expect(createGrammar({ kind: "json", schema: { type: "strin" } }, model)).rejects.toThrow("strin");
});

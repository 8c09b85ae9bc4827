import { describe, expect, it } from "vitest";
import { encodeChat } from "../../src/text/chat-encode.ts";
import { createChatTemplate } from "../../src/text/chat-template.ts";
import type { Message } from "../../src/text/messages.ts";
import { createTokenizer } from "../../src/text/tokenizer.ts";
import { CHAT, fixture, optionsOf, tinySource } from "./fixtures.ts";

const user = (content: string): Message => ({ role: "user", content });
const assistant = (content: string): Message => ({ role: "assistant", content });

function open(name: string) {
  const source = tinySource(CHAT.tokenizers[name] as string, {
    chatTemplate: CHAT.templates[name] as string,
  });
  const tokenizer = createTokenizer(source);
  const template = createChatTemplate(source);
  const encode = (messages: readonly Message[], options = {}) =>
    encodeChat(tokenizer, template, messages, options);
  /** Runs of learned tokens, as text. */
  const learned = (messages: readonly Message[]): string[] => {
    const { ids, isAssistant } = encode(messages);
    expect(isAssistant.length).toBe(ids.length);
    const runs: number[][] = [];
    ids.forEach((id, i) => {
      if (!isAssistant[i]) return;
      if (i === 0 || !isAssistant[i - 1]) runs.push([]);
      runs.at(-1)?.push(id);
    });
    return runs.map((run) => tokenizer.decode(run, { special: true }));
  };
  return { tokenizer, encode, learned };
}

describe.each(Object.keys(CHAT.templates))("conversations under %s", (name) => {
  const { encode } = open(name);
  it.each(CHAT.conversations.map((talk, i) => ({ talk, i })))("%# have transformers' ids", ({ talk, i }) => {
    const expected = CHAT.results[name]?.[i]?.ids;
    if (expected) expect(encode(talk.messages, optionsOf(talk)).ids).toEqual(expected);
  });
});

describe("odd strings as user messages", () => {
  const strings = fixture<string[]>("strings.json");
  const { encode, learned, tokenizer } = open("chatml");

  it("give transformers' ids, their own special tokens literal", () => {
    CHAT.oddStrings.forEach(({ ids, literal }, i) => {
      const text = strings[i] as string;
      expect([text, encode([user(text), assistant("ls -la")]).ids]).toEqual([text, literal ?? ids]);
    });
  });

  it("as answers are learned whole, with the end of the turn", () => {
    for (const text of strings) {
      if (text === "") continue;
      const kept = tokenizer.decode(tokenizer.encode(text)); // SmolLM2's vocabulary lacks a few control bytes
      const [answer, ...others] = learned([user("q"), assistant(text)]);
      // White space at the start may share a token with the template's line break.
      expect([`${kept}<|im_end|>`, `\n${kept}<|im_end|>`]).toContain(answer);
      expect(others).toEqual([]);
    }
  });
});

describe("learned tokens", () => {
  const turns = [user("q"), assistant("ls -la"), user("r"), assistant("pwd")];
  it.each([
    ["chatml", ["ls -la<|im_end|>", "pwd<|im_end|>"]],
    ["llama3", ["ls -la<|eot_id|>", "pwd<|eot_id|>"]],
    ["mistral", ["ls -la</s>", "pwd</s>"]],
    ["qwen25", ["ls -la<|im_end|>", "pwd<|im_end|>"]],
    ["qwen3", ["ls -la<|im_end|>", "pwd<|im_end|>"]],
  ])("under %s are the answers and their ends", (name, expected) => {
    expect(open(name).learned(turns)).toEqual(expected);
  });

  it("include a token that holds both template text and content", () => {
    // "\n" of the template and "\n\nx" of the content: one token "\n\n\n" or "\n\n" spans the border.
    const { learned } = open("chatml");
    expect(learned([user("q"), assistant("\n\nx")]).join("")).toMatch(/^\n?\n\nx<\|im_end\|>$/);
  });

  it("leave out thoughts that the template takes away from earlier turns", () => {
    const { learned } = open("qwen3");
    const messages = [user("q"), assistant("<think>\nhm\n</think>\n\nls"), user("r"), assistant("pwd")];
    expect(learned(messages)).toEqual(["ls<|im_end|>", "pwd<|im_end|>"]);
  });

  it("keep thoughts of the last turn", () => {
    const { learned } = open("qwen3");
    const answer = "<think>\nhm\n</think>\n\nls";
    expect(learned([user("q"), assistant(answer)])).toEqual([`${answer}<|im_end|>`]);
  });

  it("have no end of turn after a generation prompt", () => {
    const { encode, tokenizer } = open("chatml");
    const { ids, isAssistant } = encode([user("q")], { addGenerationPrompt: true });
    expect(isAssistant.every((flag) => flag === 0)).toBe(true);
    expect(tokenizer.decode(ids, { special: true }).endsWith("<|im_start|>assistant\n")).toBe(true);
  });

  it("are exactly the white space on the way to the end of the turn, too", () => {
    const chatTemplate = "{% for m in messages %}{{ m.content }} \n</s>{{ m.role }}{% endfor %}";
    const source = tinySource("llama2", { chatTemplate });
    const tokenizer = createTokenizer(source);
    const { ids, isAssistant } = encodeChat(tokenizer, createChatTemplate(source), [
      user("q"),
      assistant("a"),
    ]);
    const text = tokenizer.decode(
      ids.filter((_, i) => isAssistant[i]),
      { special: true },
    );
    expect(text).toBe("a \n</s>");
  });

  it("stop at the content where text follows it in the same section", () => {
    const chatTemplate = "{% for m in messages %}### {{ m.role }}: {{ m.content }}END{% endfor %}";
    const source = tinySource("qwen2", { chatTemplate });
    const tokenizer = createTokenizer(source);
    const { ids, isAssistant } = encodeChat(tokenizer, createChatTemplate(source), [assistant("a b")]);
    const text = tokenizer.decode(ids.filter((_, i) => isAssistant[i]));
    expect(text).toMatch(/^ ?a b(END|E|EN)?$/); // the last word may share a token with what follows
    expect(ids).toEqual(tokenizer.encode("### assistant: a bEND", { special: true }));
  });
});

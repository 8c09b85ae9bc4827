import { describe, expect, it } from "vitest";
import { FormatError, UnsupportedError } from "../../src/errors.ts";
import { createChatTemplate } from "../../src/text/chat-template.ts";
import type { Message } from "../../src/text/messages.ts";
import { CHAT, optionsOf, tinySource } from "./fixtures.ts";

const user = (content: string): Message => ({ role: "user", content });

describe.each(Object.entries(CHAT.templates))("template in the style of %s", (name, chatTemplate) => {
  const template = createChatTemplate(tinySource(CHAT.tokenizers[name] as string, { chatTemplate }));
  const cases = CHAT.conversations.map((talk, i) => ({ talk, expected: CHAT.results[name]?.[i], i }));

  it.each(cases)("renders conversation $i as transformers does", ({ talk, expected }) => {
    const render = () => template.render(talk.messages, optionsOf(talk));
    if (expected?.error !== undefined)
      expect(render).toThrow(new FormatError("chat template", expected.error));
    else expect(render()).toBe(expected?.text);
  });
});

// transformers.utils.chat_template_utils of 5.24: _normalize_chat_messages and _alias_reasoning_fields.
describe("a message as transformers hands it over", () => {
  const shown = createChatTemplate(tinySource("smollm2", { chatTemplate: "{{ messages[0] | tojson }}" }));
  const cases: [string, object, string][] = [
    ["no null fields", { content: null, tool_calls: null, name: "a" }, '{"role": "user", "name": "a"}'],
    [
      "older names of thoughts",
      { content: "c", thinking: "t" },
      '{"thinking": "t", "role": "user", "content": "c", "reasoning_content": "t"}',
    ],
    [
      "and newer ones",
      { content: "c", reasoning: "t" },
      '{"thinking": "t", "role": "user", "content": "c", "reasoning": "t", "reasoning_content": "t"}',
    ],
    [
      "all names given: each as it is",
      { reasoning_content: "r", thinking: "t", reasoning: "x" },
      '{"thinking": "t", "role": "user", "reasoning_content": "r", "reasoning": "x"}',
    ],
  ];
  it.each(cases)("%s", (_name, fields, text) => {
    expect(shown.render([{ role: "user", ...fields } as Message])).toBe(text);
  });
});

describe("errors", () => {
  it("name the way out where a model has no template", () => {
    expect(() => createChatTemplate(tinySource("smollm2"))).toThrow(UnsupportedError);
    expect(() => createChatTemplate(tinySource("smollm2"))).toThrow(
      "this model has no chat template: use --raw (plain text prompts), or data in the plain-text format",
    );
  });

  it("say that a template cannot be parsed", () => {
    const source = tinySource("smollm2", { chatTemplate: "{% for m in %}" });
    expect(() => createChatTemplate(source)).toThrow(/^chat template: cannot be parsed: /);
  });

  it("carry the template's own message", () => {
    const chatTemplate = "{{ raise_exception('System role not supported') }}";
    const template = createChatTemplate(tinySource("smollm2", { chatTemplate }));
    expect(() => template.render([user("a")])).toThrow(
      new FormatError("chat template", "System role not supported"),
    );
  });
});

describe("template environment", () => {
  const render = (chatTemplate: string, tokenizerConfig = {}) =>
    createChatTemplate(tinySource("qwen2", { chatTemplate, tokenizerConfig })).render([user("<é>")]);

  it("defines the special tokens that the model has, and no others", () => {
    expect(render("{{ bos_token is defined }} {{ eos_token }} {{ pad_token }}")).toBe(
      "False <|im_end|> <|endoftext|>",
    );
    expect(
      render("{{ image_token }}{{ sep_token }}", { image_token: { content: "<img>" }, sep_token: "/" }),
    ).toBe("<img>/");
  });

  it("has tools and documents as none, tojson without escapes, and today's date", () => {
    expect(render("{{ tools is none }} {{ documents is none }}")).toBe("True True");
    expect(render("{{ messages | tojson }}")).toBe('[{"role": "user", "content": "<é>"}]');
    expect(render("{{ strftime_now('%Y') }}")).toBe(String(new Date().getFullYear()));
  });
});

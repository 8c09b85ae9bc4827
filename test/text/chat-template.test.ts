import { describe, expect, it } from "vitest";
import { FormatError, UnsupportedError } from "../../src/errors.ts";
import { createChatTemplate } from "../../src/text/chat-template.ts";
import type { Message } from "../../src/text/messages.ts";
import { CHAT, optionsOf, tinySource } from "./fixtures.ts";

const user = (content: string): Message => ({ role: "user", content });
const assistant = (content: string): Message => ({ role: "assistant", content });

describe.each(Object.entries(CHAT.templates))("template in the style of %s", (name, chatTemplate) => {
  const template = createChatTemplate(tinySource(CHAT.tokenizers[name] as string, { chatTemplate }));
  const cases = CHAT.conversations.map((talk, i) => ({ talk, expected: CHAT.results[name]?.[i], i }));

  it.each(cases)("renders conversation $i as transformers does", ({ talk, expected }) => {
    const render = () => template.render(talk.messages, optionsOf(talk));
    if (expected?.error !== undefined)
      expect(render).toThrow(new FormatError("chat template", expected.error));
    else expect(render()).toBe(expected?.text);
  });

  it.each(cases)("cuts conversation $i into segments that join to the same text", ({ talk, expected }) => {
    if (expected?.error !== undefined) return;
    const { segments } = template.renderSegments(talk.messages, optionsOf(talk));
    expect(segments.map((s) => s.text).join("")).toBe(expected?.text);
    for (const s of segments) {
      const from = s.messageIndex === null ? undefined : talk.messages[s.messageIndex];
      expect(s.isTemplate).toBe(from === undefined);
      expect(s.isAssistantContent).toBe(from?.role === "assistant");
      if (from) expect(from.content).toContain(s.text);
    }
  });
});

describe("segments", () => {
  const contents = (chatTemplate: string, messages: Message[]): { found: string[]; isExact: boolean } => {
    const template = createChatTemplate(tinySource("qwen2", { chatTemplate }));
    const { segments, isExact } = template.renderSegments(messages);
    return {
      found: segments.filter((s) => !s.isTemplate).map((s) => `${s.messageIndex}:${s.text}`),
      isExact,
    };
  };
  const each = (body: string) => `{% for m in messages %}[${body}]{% endfor %}`;

  it("hold whole contents, also those that look like the template", () => {
    expect(contents(each("{{ m.role }}:{{ m.content }}"), [user("user"), assistant("[assistant:]")])).toEqual(
      {
        found: ["0:user", "1:[assistant:]"],
        isExact: true,
      },
    );
  });

  it("hold the trimmed content of a template that trims", () => {
    expect(contents(each("{{ m.content | trim }}"), [user(" a b\n"), assistant("\n\tc ")])).toEqual({
      found: ["0:a b", "1:c"],
      isExact: true,
    });
  });

  it("hold outer white space of a template that does not trim", () => {
    expect(contents(each("{{ m.content }}"), [user(" a \n")])).toEqual({ found: ["0: a \n"], isExact: true });
  });

  it("repeat content that the template repeats, and lack what it drops", () => {
    const messages = [user("u"), assistant("a")];
    const body = "{% if m.role == 'user' %}{{ m.content }}/{{ m.content }}{% endif %}";
    expect(contents(each(body), messages)).toEqual({ found: ["0:u", "0:u"], isExact: true });
  });

  it("reach as far as text and content agree where the template takes the content apart", () => {
    const body = "{{ m.content.split('</think>')[-1].lstrip() }}";
    const messages = [user("u"), assistant("<think>hm</think>\n\nyes")];
    expect(contents(each(body), messages)).toEqual({ found: ["0:u", "1:yes"], isExact: false });
  });

  it("fall back to a search where the template decides by the content, and say so", () => {
    const body =
      "{% if m.content.startswith('x') %}{{ m.content }}{% else %}other {{ m.content }}{% endif %}";
    expect(contents(each(body), [user("xa"), assistant("b")])).toEqual({
      found: ["0:xa", "1:b"],
      isExact: false,
    });
    expect(contents(each("{{ m.content | upper }}"), [user("éa")])).toEqual({
      found: ["0:ÉA"],
      isExact: true,
    });
    expect(contents(each("{{ m.content | length }}"), [user("éa")])).toEqual({ found: [], isExact: false });
  });

  it("survive contents that use the marks' own characters", () => {
    const odd = "\u{f0000}a\u{f0001}";
    expect(contents(each("{{ m.content }}"), [user(odd)])).toEqual({ found: [`0:${odd}`], isExact: true });
    const odder = "\u{f0000}\u{100000}";
    expect(contents(each("{{ m.content }}"), [user(odder)])).toEqual({
      found: [`0:${odder}`],
      isExact: false,
    });
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
      "false <|im_end|> <|endoftext|>",
    );
    expect(
      render("{{ image_token }}{{ sep_token }}", { image_token: { content: "<img>" }, sep_token: "/" }),
    ).toBe("<img>/");
  });

  it("has tools and documents as none, tojson without escapes, and today's date", () => {
    expect(render("{{ tools is none }} {{ documents is none }}")).toBe("true true");
    expect(render("{{ messages | tojson }}")).toBe('[{"role": "user", "content": "<é>"}]');
    expect(render("{{ strftime_now('%Y') }}")).toBe(String(new Date().getFullYear()));
  });
});

import { describe, expect, it } from "vitest";
import { random } from "../../src/tensor/random.ts";
import { TOOL_CALL_FORMS, type ToolCallForm, toolCallForm } from "../../src/text/tool-call-forms.ts";
import { type AnswerPart, parseToolCalls, readToolCalls } from "../../src/text/tool-calls.ts";

const formNamed = (name: string): ToolCallForm =>
  TOOL_CALL_FORMS.find((form) => form.name === name) as ToolCallForm;

const LS = { name: "ls", arguments: '{"path": "/tmp", "depth": 12345678901234567890}' };
const CAT = { name: "cat", arguments: '{"text":"a } \\" ]</tool_call> é","list":[{},[1, 2]]}' };
const PWD = { name: "pwd", arguments: "{}" };
const ls = `{"name": "ls", "arguments": ${LS.arguments}}`;
const cat = `{"name": "cat", "arguments": ${CAT.arguments}}`;

interface Case {
  readonly form: string;
  readonly answer: string;
  readonly text: string;
  readonly calls: readonly object[];
}

const CASES: readonly Case[] = [
  { form: "hermes", answer: "no call < at all", text: "no call < at all", calls: [] },
  { form: "hermes", answer: " \n", text: " \n", calls: [] },
  { form: "hermes", answer: `<tool_call>\n${ls}\n</tool_call>`, text: "", calls: [LS] },
  {
    form: "hermes",
    answer: `Let me look.\n<tool_call>\n${ls}\n</tool_call>\n<tool_call>${cat}</tool_call>\n`,
    text: "Let me look.\n",
    calls: [LS, CAT],
  },
  { form: "hermes", answer: `\n\n<tool_call>${cat}</tool_call> done`, text: " done", calls: [CAT] },
  { form: "hermes", answer: `<tool_call>[\n${ls},\n${cat}\n]</tool_call>`, text: "", calls: [LS, CAT] },
  { form: "hermes", answer: "<tool_call>[]</tool_call>", text: "", calls: [] },
  { form: "hermes", answer: '<tool_call>{"name": "pwd"}</tool_call>', text: "", calls: [PWD] },
  {
    form: "hermes",
    answer: '<tool_call>{"name": "pwd", "arguments": "{}"}</tool_call>',
    text: "",
    calls: [PWD],
  },
  { form: "hermes", answer: `<tool_call>\n${ls}\n`, text: "", calls: [LS] },
  {
    form: "hermes",
    answer: '<tool_call>\n{"name": "ls", "argu',
    text: '<tool_call>\n{"name": "ls", "argu',
    calls: [],
  },
  {
    form: "hermes",
    answer: "<tool_call>{'name': 'ls'}</tool_call>",
    text: "<tool_call>{'name': 'ls'}</tool_call>",
    calls: [],
  },
  {
    form: "hermes",
    answer: `<tool_call>${ls} and</tool_call>`,
    text: `<tool_call>${ls} and</tool_call>`,
    calls: [],
  },
  {
    form: "hermes",
    answer: '<tool_call>{"name": 3}</tool_call>',
    text: '<tool_call>{"name": 3}</tool_call>',
    calls: [],
  },
  {
    form: "hermes",
    answer: `<tool_call>ls</tool_call><tool_call>${ls}</tool_call>`,
    text: "<tool_call>ls</tool_call>",
    calls: [LS],
  },
  { form: "llama", answer: `{"name": "ls", "parameters": ${LS.arguments}}`, text: "", calls: [LS] },
  { form: "llama", answer: `\n<|python_tag|>${ls}; ${cat}`, text: "", calls: [LS, CAT] },
  { form: "llama", answer: `${ls};${cat}\n`, text: "", calls: [LS, CAT] },
  { form: "llama", answer: `${ls}; and`, text: "; and", calls: [LS] },
  { form: "llama", answer: '{"name": "Bob"}', text: '{"name": "Bob"}', calls: [] },
  { form: "llama", answer: `I think ${ls}`, text: `I think ${ls}`, calls: [] },
  {
    form: "llama",
    answer: '<|python_tag|>brave.call(query="a")',
    text: '<|python_tag|>brave.call(query="a")',
    calls: [],
  },
  { form: "mistral", answer: `[TOOL_CALLS][${ls}, ${cat}]`, text: "", calls: [LS, CAT] },
  { form: "mistral", answer: `So: [TOOL_CALLS] [${ls}]`, text: "So: ", calls: [LS] },
  {
    form: "mistral",
    answer: `[TOOL_CALLS]ls${LS.arguments}[TOOL_CALLS]cat[ARGS]${CAT.arguments}`,
    text: "",
    calls: [LS, CAT],
  },
  {
    form: "mistral",
    answer: "[TOOL_CALLS]ls[CALL_ID]a1b2c3d4e[ARGS]{}",
    text: "",
    calls: [{ ...LS, arguments: "{}" }],
  },
  { form: "mistral", answer: `[TOOL_CALLS][${ls}`, text: `[TOOL_CALLS][${ls}`, calls: [] },
  { form: "mistral", answer: "[TOOL_CALLS]what is this", text: "[TOOL_CALLS]what is this", calls: [] },
];

/** The parts of an answer that comes in pieces, neighbouring texts joined. */
function streamed(form: ToolCallForm, pieces: readonly string[]): { text: string; calls: object[] } {
  const reader = readToolCalls(form);
  const parts: AnswerPart[] = [...pieces.flatMap((piece) => reader.push(piece)), ...reader.flush()];
  return {
    text: parts.map((part) => ("text" in part ? part.text : "")).join(""),
    calls: parts.flatMap((part) => ("call" in part ? [part.call] : [])),
  };
}

describe("an answer with tool calls", () => {
  it.each(CASES)("$form: $answer", ({ form, answer, text, calls }) => {
    expect(parseToolCalls(formNamed(form), answer)).toEqual({ text, calls });
  });

  it.each(CASES)("$form, however it is cut: $answer", ({ form, answer, text, calls }) => {
    expect(streamed(formNamed(form), [...answer])).toEqual({ text, calls });
    const generator = random(7);
    for (let round = 0; round < 20; round++) {
      const pieces: string[] = [];
      for (let at = 0; at < answer.length; ) {
        const length = 1 + generator.below(9);
        pieces.push(answer.slice(at, at + length));
        at += length;
      }
      expect(streamed(formNamed(form), pieces)).toEqual({ text, calls });
    }
  });

  it("streams text at once, holds what may be a call, and gives the call when it is complete", () => {
    const reader = readToolCalls(formNamed("hermes"));
    expect(reader.push("Hello ")).toEqual([{ text: "Hello " }]);
    expect(reader.push("a < b <to")).toEqual([{ text: "a < b " }]);
    expect(reader.push("p>")).toEqual([{ text: "<top>" }]);
    expect(reader.push(`<tool_call>${ls}`)).toEqual([]);
    expect(reader.push("</tool_call>")).toEqual([{ call: LS }]);
    expect(reader.flush()).toEqual([]);
  });
});

describe.each(TOOL_CALL_FORMS.map((form) => [form.name, form] as const))("what %s writes", (_, form) => {
  it("is what it reads", () => {
    const { opening, around, between, closing } = form.written;
    const texts = [LS, CAT].map(({ name, arguments: values }) => around(name).join(values));
    const first = `${opening}${texts[0]}${closing}`;
    expect(parseToolCalls(form, first)).toEqual({ text: "", calls: [LS] });
    if (between === null) return;
    const both = `${opening}${texts.join(between)}${closing}`;
    expect(parseToolCalls(form, both)).toEqual({ text: "", calls: [LS, CAT] });
  });
});

describe("the form of a model", () => {
  it.each([
    ['<tool_call>\\n{"name": <function-name>, "arguments": <args-json-object>}\\n</tool_call>', "hermes"],
    ['Respond in the format {"name": function name, "parameters": dictionary of argument name', "llama"],
    ["{{- '[TOOL_CALLS][' }}", "mistral"],
    ['{{- "[TOOL_CALLS] [" }}', "mistral-spaced"],
    ["{{- '[TOOL_CALLS]' + name + '[ARGS]' + arguments }}", "mistral-args"],
    ["{{ '<tool_call>\\n<function=' + tool_call.name + '>' }}", null],
    ["<tool_call>{function-name}\\n<arg_key>{arg-key-1}</arg_key>", null],
    ["{% for message in messages %}{{ message.content }}{% endfor %}", null],
  ])("by its template: %s", (template, name) => {
    expect(toolCallForm(template)?.name ?? null).toBe(name);
  });
});

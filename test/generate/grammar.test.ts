import { Ajv2020 } from "ajv/dist/2020.js";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { InputError } from "../../src/errors.ts";
import type { AnswerForm } from "../../src/generate/answer-form.ts";
import { createGrammar, type GrammarModel } from "../../src/generate/grammar.ts";
import { type AnswerWishes, heldAnswer } from "../../src/generate/held-answer.ts";
import { type JsonSchema, schemaProblems } from "../../src/generate/json-schema.ts";
import { createSampler } from "../../src/generate/sampling.ts";
import { random } from "../../src/tensor/random.ts";
import { createTokenizer } from "../../src/text/tokenizer.ts";
import { TOOL_CALL_FORMS, type ToolCallForm } from "../../src/text/tool-call-forms.ts";
import { parseToolCalls } from "../../src/text/tool-calls.ts";
import { TINY_TOKENIZERS, tinySource } from "../text/fixtures.ts";

const object = (properties: JsonSchema, more: JsonSchema = {}): JsonSchema => ({
  type: "object",
  properties,
  required: Object.keys(properties),
  additionalProperties: false,
  ...more,
});

const SCHEMAS: Readonly<Record<string, JsonSchema>> = {
  "of zod": z.toJSONSchema(
    z.strictObject({
      name: z.string().min(1).max(8),
      age: z.int(),
      kind: z.enum(["a", 'b"\\\n', "é"]),
      tags: z.array(z.string()).max(3),
      more: z.union([z.number(), z.null()]),
      maybe: z.boolean().optional(),
    }),
  ) as JsonSchema,
  "optional properties": { ...object({ a: { type: "integer" }, b: { type: "string" } }), required: ["b"] },
  "no property is required": { ...object({ a: { type: "integer" }, "b-é c": true }), required: [] },
  "any value": {},
  "a map": { type: "object", additionalProperties: { type: "integer" } },
  "a list of pairs": {
    type: "array",
    items: { type: "array", prefixItems: [{ type: "integer" }, { const: { x: [1, null] } }], items: false },
    minItems: 1,
    maxItems: 2,
  },
  "several types": { type: ["string", "null", "array"], maxLength: 3, items: { type: "boolean" } },
  "a tree": {
    $defs: {
      node: object({
        value: { type: "integer" },
        next: { anyOf: [{ $ref: "#/$defs/node" }, { type: "null" }] },
      }),
    },
    $ref: "#/$defs/node",
  },
  formats: object({
    date: { type: "string", format: "date" },
    time: { type: "string", format: "time" },
    both: { type: "string", format: "date-time" },
    id: { type: "string", format: "uuid" },
  }),
};

/** Their shape: that a month has no day 30 the grammar does not know. */
const FORMATS = {
  date: /^\d{4}-\d\d-\d\d$/,
  time: /^\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/,
  "date-time": /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/,
  uuid: /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i,
};

function modelOf(name: string): GrammarModel {
  const tokenizer = createTokenizer(tinySource(name));
  const eosIds = [tokenizer.eosId as number];
  return { tokenizer, vocabSize: tokenizer.vocabSize + 5, eosIds, shown: [] };
}

const json = (schema: JsonSchema): AnswerForm => ({ kind: "json", schema });
const ANY_OBJECT = json({ type: "object" });

const TEXTS = 12;
const NOISE = Float32Array.from({ length: 10_007 }, random(1).normal);

/** What a model of random logits writes: ids without the end token, or null where it goes on and on. */
async function written(form: AnswerForm, model: GrammarModel, seed: number): Promise<string | null> {
  const { tokenizer, vocabSize, eosIds } = model;
  const grammar = await createGrammar(form, model);
  const sampler = createSampler({ temperature: 1, seed });
  const generator = random(seed);
  const ids: number[] = [];
  const closing = Array.from({ length: vocabSize }, (_, id) => /["\]}]/.test(tokenizer.token(id) ?? ""));
  for (let i = 0; i < 400; i++) {
    // What closes is likely, the more the longer it gets: else random texts and lists go on for ever.
    const start = generator.below(NOISE.length);
    const logits = Float32Array.from(
      closing,
      (closes, id) => (NOISE[(start + id) % NOISE.length] as number) + (closes ? i / 20 : 0),
    );
    for (const id of eosIds) logits[id] = seed % 2 === 0 ? 3 : 0;
    const id = sampler.next(logits, ids, 0, grammar.mask());
    if (eosIds.includes(id)) return tokenizer.decode(ids, { special: true });
    grammar.accept(id);
    ids.push(id);
    await grammar.waits;
  }
  return null;
}

describe.each(TINY_TOKENIZERS)("random tokens of the %s tokenizer", (name) => {
  const model = modelOf(name);

  it.each(Object.entries(SCHEMAS))("held to a schema give JSON that fits it: %s", async (_, schema) => {
    expect(schemaProblems(schema, "s")).toEqual([]);
    const fits = new Ajv2020({ formats: FORMATS, strict: false }).compile(schema);
    let whole = 0;
    for (let seed = 0; seed < TEXTS; seed++) {
      const text = await written(json(schema), model, seed);
      if (text === null) continue;
      whole++;
      const value: unknown = JSON.parse(text);
      // Random bytes may be no UTF-8 (surrogates): what is read as several U+FFFD counted as one character.
      if (!text.includes("\ufffd")) expect(fits(value), text).toBe(true);
    }
    expect(whole).toBeGreaterThan(TEXTS / 4);
  });

  it("held to JSON give objects", async () => {
    let whole = 0;
    for (let seed = 0; seed < TEXTS; seed++) {
      const text = await written(ANY_OBJECT, model, seed);
      if (text === null) continue;
      whole++;
      expect(JSON.parse(text), text).toBeTypeOf("object");
      expect(text.trim()).toMatch(/^\{/);
    }
    expect(whole).toBeGreaterThan(TEXTS / 4);
  });
});

describe("a schema that answers cannot be held to", () => {
  it.each<[JsonSchema, string]>([
    [{ type: "integer", minimum: 3 }, "s: answers cannot be held to minimum and maximum here"],
    [{ type: "string", pattern: "^a" }, "s.pattern: answers cannot be held to this here"],
    [{ oneOf: [{ type: "null" }] }, "s.oneOf: answers cannot be held to this here"],
    [{ minLength: 2 }, "s.minLength: answers cannot be held to this here"],
    [
      { type: "strin" },
      's.type: expected object, array, string, integer, number, boolean, null, got "strin"',
    ],
    [{ type: "object", required: ["a"] }, 's.required: expected names of properties, got ["a"]'],
    [object({ a: false as unknown as JsonSchema }), "s.properties.a: expected a schema, got false"],
    [object({ 'a"': {} }), "s.properties: a name that is empty or needs escapes"],
    [object({ a: {} }, { additionalProperties: true }), "s.additionalProperties: expected false where"],
    [
      { type: "array", items: { type: "array", minItems: 1e6 } },
      "s.items.minItems: expected a whole number from 0 to",
    ],
    [
      {
        type: "array",
        items: {
          anyOf: [
            { type: "string", maxLength: 60 },
            { type: "string", minLength: 5 },
          ],
        },
      },
      "s: lengths of texts add up to 65, of which 64 can be asked for",
    ],
    [{ anyOf: Array(501).fill({ type: "null" }) }, "s: has more than 500 schemas"],
    [{ enum: [] }, "s.enum: expected a list of values, got"],
    [{ type: "string", enum: ["a", 1] }, 's: 1 is not of type "string"'],
    [{ $ref: "https://example.com/s.json" }, 's.$ref: expected "#/$defs/…"'],
    [
      { $defs: { a: { $ref: "#/$defs/b" }, b: { anyOf: [{ $ref: "#/$defs/a" }] } }, $ref: "#/$defs/a" },
      "s: stands for itself",
    ],
    [{ type: "string", format: "email" }, "s.format: expected date, time, date-time, uuid, got"],
  ])("%j", (schema, message) => {
    const said = schemaProblems(schema, "s").map((problem) => `${problem.where}: ${problem.message}`);
    expect(
      said.some((line) => line.startsWith(message.replace(/, got$/, ""))),
      said.join("\n"),
    ).toBe(true);
  });

  it("names all that is wrong in it, and none of an endless one", () => {
    const where = schemaProblems(
      { type: "array", uniqueItems: true, items: { type: "string", pattern: "a" } },
      "s",
    );
    expect(where.map((problem) => problem.where)).toEqual(["s.uniqueItems", "s.items.pattern"]);
    let deep: JsonSchema = {};
    for (let i = 0; i < 10_000; i++) deep = { type: "array", items: deep };
    expect(schemaProblems(deep, "s")).toHaveLength(1);
  });

  it("the library refuses the rest with its reason, and goes on", async () => {
    const model = modelOf(TINY_TOKENIZERS[0] as string);
    const before = await createGrammar(ANY_OBJECT, model);
    const wrong = json({ type: "strin" });
    await expect(createGrammar(wrong, model)).rejects.toThrow(InputError);
    await expect(createGrammar(wrong, model)).rejects.toThrow('Unsupported type "strin"');
    before.accept(model.tokenizer.tokenId("{") as number);
    expect(() => before.mask()).toThrow("not ready");
    await before.waits;
    expect(before.mask().some((bits) => bits !== 0)).toBe(true);
    await createGrammar(ANY_OBJECT, model);
  });
});

it("answers under way do not wait for all that begin, and what nobody waits for is not begun", async () => {
  const model = modelOf("qwen2");
  const running = await createGrammar(ANY_OBJECT, model);
  const order: string[] = [];
  const away = new AbortController();
  const begin = (i: number, signal?: AbortSignal) =>
    createGrammar(json(object({ [`a${i}`]: { type: "string", maxLength: 40 + i } })), model, signal);
  const begun = Array.from({ length: 5 }, async (_, i) => {
    await begin(i);
    order.push(`begun ${i}`);
  });
  const left = begin(5, away.signal);
  away.abort();
  running.accept(model.tokenizer.tokenId("{") as number);
  await running.waits;
  order.push("answer");
  expect(() => running.mask()).not.toThrow();
  await Promise.all(begun);
  expect(order.indexOf("answer")).toBeLessThan(3);
  const abandoned = await left;
  expect(abandoned.waits).toBeNull();
  expect(() => abandoned.mask()).toThrow("ended before it began");
});

it("tokens that do not fit are refused", async () => {
  const model = modelOf(TINY_TOKENIZERS[0] as string);
  const grammar = await createGrammar(ANY_OBJECT, model);
  expect(() => grammar.accept(model.tokenizer.tokenId("]") as number)).toThrow(
    "does not fit the response format",
  );
});

describe("answers with tools", () => {
  const parameters: Readonly<Record<string, JsonSchema>> = {
    look: object({ place: { type: "string", maxLength: 8 }, kind: { enum: ["}", '"root"', "a]"] } }),
    count: object(
      { n: { type: "integer" }, more: { $ref: "#/$defs/more" } },
      { $defs: { more: { const: 7 } } },
    ),
    nothing: object({}),
  };
  const tools = [...Object.entries(parameters), ["pwd", undefined] as const].map(([name, schema]) => ({
    type: "function",
    function: { name, ...(schema ? { parameters: schema, strict: true } : {}) },
  }));
  const model = { ...modelOf("qwen2"), shown: ["<tool_call>", "</tool_call>"] };
  const format = object({ answer: { type: "integer" } });
  const callsIn = (form: ToolCallForm, text: string) => parseToolCalls(form, text).calls;

  const check = (calls: ReturnType<typeof callsIn>): void => {
    for (const call of calls) {
      const schema = parameters[call.name] ?? object({});
      expect(tools.map((tool) => tool.function.name)).toContain(call.name);
      const fits = new Ajv2020({ strict: false }).compile(schema);
      if (!call.arguments.includes("\ufffd"))
        expect(fits(JSON.parse(call.arguments)), call.arguments).toBe(true);
    }
  };
  const texts = async (wishes: AnswerWishes, form: ToolCallForm): Promise<string[]> => {
    const { form: held, problems } = heldAnswer(wishes, form);
    expect(problems).toEqual([]);
    const all: string[] = [];
    for (let seed = 0; seed < TEXTS; seed++) {
      const text = await written(held as AnswerForm, model, seed);
      if (text !== null) all.push(text);
    }
    expect(all.length).toBeGreaterThan(TEXTS / 4);
    return all;
  };

  describe.each(TOOL_CALL_FORMS.map((form) => [form.name, form] as const))("in the form %s", (_, form) => {
    it("required: nothing but calls, which fit", async () => {
      const counts: number[] = [];
      for (const text of await texts({ tools, toolChoice: "required" }, form)) {
        const { text: rest, calls } = parseToolCalls(form, text);
        expect(rest, text).toBe("");
        check(calls);
        counts.push(calls.length);
      }
      expect(Math.min(...counts)).toBeGreaterThanOrEqual(1);
      if (form.written.between !== null) expect(Math.max(...counts)).toBeGreaterThan(1);
      else expect(Math.max(...counts)).toBe(1);
    });

    it("one tool, once", async () => {
      const wishes = { tools, toolChoice: { name: "count" }, parallelToolCalls: false };
      for (const text of await texts(wishes, form)) {
        const calls = callsIn(form, text);
        expect(calls.map(({ name }) => name)).toEqual(["count"]);
        check(calls);
      }
    });

    it("calls, or what fits the response format", async () => {
      let called = 0;
      for (const text of await texts({ tools, responseFormat: format }, form)) {
        const { text: rest, calls } = parseToolCalls(form, text);
        check(calls);
        if (calls.length > 0) called++;
        else expect(JSON.parse(rest)).toEqual({ answer: expect.any(Number) });
      }
      expect(called).toBeGreaterThan(0);
    });
  });

  it("auto: text is free, calls of strict tools fit; Llama's have no beginning of their own", async () => {
    const named = (name: string) => TOOL_CALL_FORMS.find((form) => form.name === name) as ToolCallForm;
    const { form } = heldAnswer({ tools }, named("hermes"));
    const grammar = await createGrammar(form as AnswerForm, model);
    const allowed = (text: string): boolean => {
      const id = model.tokenizer.tokenId(text) as number;
      return (((grammar.mask()[id >> 5] as number) >>> (id & 31)) & 1) === 1;
    };
    const say = async (text: string): Promise<void> => {
      for (const id of model.tokenizer.encode(text)) {
        grammar.accept(id);
        await grammar.waits;
      }
    };
    await say("Let me\nsee: {");
    expect(allowed("a")).toBe(true);
    grammar.accept(model.tokenizer.tokenId("<tool_call>") as number);
    await grammar.waits;
    expect(allowed("a")).toBe(false);
    await say('\n{"name": "count", "arguments": {"n": 12');
    expect(allowed("a")).toBe(false);
    expect(allowed("3")).toBe(true);
    await say(', "more": 7}}\n');
    grammar.accept(model.tokenizer.tokenId("</tool_call>") as number);
    await grammar.waits;
    expect(allowed("a")).toBe(true);
    expect(heldAnswer({ tools }, named("llama")).form).toBeNull();
    expect(
      heldAnswer({ tools: [{ type: "function", function: { name: "f" } }] }, named("hermes")).form,
    ).toBeNull();
  });

  it("says what cannot be held to", () => {
    const said = (wishes: AnswerWishes, form = TOOL_CALL_FORMS[0] as ToolCallForm): string[] =>
      heldAnswer(wishes, form).problems.map(({ where, message }) => `${where}: ${message}`);
    const odd = {
      name: "f",
      parameters: { type: "object", properties: { a: { type: "string", pattern: "x" } } },
    };
    const tool = { type: "function", function: odd };
    expect(said({ toolChoice: "required" })).toEqual(["toolChoice: asks for a call, but there are no tools"]);
    expect(said({ tools, toolChoice: { name: "g" } })).toEqual(['toolChoice: there is no tool "g"']);
    expect(said({ tools: [tool], toolChoice: "required" })).toEqual([
      "tools[0].function.parameters.properties.a.pattern: answers cannot be held to this here",
    ]);
    expect(said({ tools: [tool] })).toEqual([]);
    expect(
      said({ tools: [{ ...tool, function: { ...odd, strict: false } }], toolChoice: "required" }),
    ).toEqual([]);
    expect(said({ tools: [{ function: { name: "f", parameters: {} } }], toolChoice: "required" })).toEqual([
      'tools[0].function.parameters.type: expected "object": arguments have names',
    ]);
    expect(said({ tools: [{}], toolChoice: "required" })).toEqual([
      "tools[0].function: expected a function with a name",
    ]);
    expect(heldAnswer({ tools, toolChoice: "required" }, null).problems).toMatchObject([{ where: "tools" }]);
    const long = { function: { name: "f", parameters: object({ a: { type: "string", maxLength: 40 } }) } };
    expect(said({ tools: [long, long], toolChoice: "required" })).toEqual([
      "tools[1].function.parameters: lengths of texts add up to 80, of which 64 can be asked for",
    ]);
  });
});

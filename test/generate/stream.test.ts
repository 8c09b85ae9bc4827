import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { InputError } from "../../src/errors.ts";
import { laneOf } from "../../src/generate/answering.ts";
import { createDecoder } from "../../src/generate/decoder.ts";
import {
  continuationOf,
  type GeneratedPiece,
  type GenerateRequest,
  type GenerateResult,
  generateWith,
} from "../../src/generate/stream.ts";
import { openRuntime } from "../../src/runtime/runtime.ts";
import { toolCallForm } from "../../src/text/tool-call-forms.ts";
import { errorOf } from "../error-of.ts";
import { adapterPath, createLoader, greedyByLogits, type Loader } from "./loading.ts";

let loader: Loader;
const load: Loader["load"] = (name, options) => loader.load(name, options);
beforeAll(async () => {
  loader = await createLoader();
});
afterEach(() => loader.closeAll());
afterAll(() => loader.remove());

/** Every piece, and the result. */
async function listen(
  pieces: AsyncGenerator<GeneratedPiece, GenerateResult>,
): Promise<{ pieces: GeneratedPiece[]; result: GenerateResult }> {
  const heard: GeneratedPiece[] = [];
  for (;;) {
    const next = await pieces.next();
    if (next.done) return { pieces: heard, result: next.value };
    heard.push(next.value);
  }
}

const request: GenerateRequest = { prompt: "print the first line", maxTokens: 24 };

test("streams the text that it returns", async () => {
  const model = await load("llama3");
  const { pieces, result } = await listen(model.generate(request));
  expect(pieces.map((p) => p.text).join("")).toBe(result.text);
  expect(result.text).toBe(model.base.tokenizer.decode([...result.ids]));
  expect(result).toMatchObject({ finishReason: "length" });
  expect(result.ids).toHaveLength(24);
  expect(result.elapsedMs).toBeGreaterThan(0);
  expect(await model.generateText(request)).toMatchObject({ text: result.text, ids: result.ids });
});

test("ends at an end token, which is not part of it", async () => {
  const model = await load("llama");
  const { ids } = await model.generateText(request);
  const end = ids[5] as number; // any token of it, made the end token
  const base = { ...model.base, eosIds: [end] };
  const runtime = openRuntime({ threads: 1 });
  const { config, family, modules, frozen, weights } = base;
  const parts = { config, family, modules, frozen, methods: [], positionCount: 256, rowTokens: 256 };
  const decoder = await createDecoder(runtime, parts, weights.folder);
  const { result } = await listen(
    generateWith(laneOf(decoder, 1, 0), base, request, {
      contextLength: 256,
      virtual: { prefix: [], infix: [] },
      createGrammar: null,
    }),
  );
  await runtime.close();
  expect(result.finishReason).toBe("end");
  expect(result.ids).toEqual(ids.slice(0, ids.indexOf(end)));
});

test("calls at once wait for each other and give what they give alone", async () => {
  const model = await load("llama", { adapter: adapterPath("llama") });
  const prompts = ["a", "list the files", "b c", "find . -name x"];
  const alone: GenerateResult[] = [];
  for (const prompt of prompts) alone.push(await model.generateText({ prompt, maxTokens: 10 }));
  const logits = await model.logits([4, 5]);
  const [together, between] = await Promise.all([
    Promise.all(prompts.map((prompt) => model.generateText({ prompt, maxTokens: 10 }))),
    model.logits([4, 5]),
  ]);
  expect(together.map((r) => r.ids)).toEqual(alone.map((r) => r.ids));
  expect(between).toEqual(logits);
});

test("a swap asked for in the middle comes after the continuation", async () => {
  const model = await load("llama");
  const base = await model.generateText(request);
  await model.swap(adapterPath("llama"));
  const adapted = await model.generateText(request);
  expect(adapted.ids).not.toEqual(base.ids);
  const pieces = model.generate(request);
  await pieces.next();
  const swapped = model.swap(null);
  const { result } = await listen(pieces);
  await swapped;
  expect(result.ids).toEqual(adapted.ids);
  expect((await model.generateText(request)).ids).toEqual(base.ids);
});

test("leaving the loop early frees the model", async () => {
  const model = await load("llama");
  const whole = await model.generateText(request);
  let heard = "";
  for await (const { text } of model.generate(request)) {
    heard += text;
    break;
  }
  expect(whole.text.startsWith(heard)).toBe(true);
  expect((await model.generateText(request)).ids).toEqual(whole.ids);
  await expect(
    (async () => {
      for await (const _ of model.generate(request)) throw new Error("mine");
    })(),
  ).rejects.toThrow("mine");
  expect((await model.generateText(request)).ids).toEqual(whole.ids);
});

test("a generator that is never started holds nothing", async () => {
  const model = await load("llama");
  model.generate(request);
  expect((await model.generateText(request)).ids).toHaveLength(24);
});

test("an aborted signal ends it with what there is", async () => {
  const model = await load("llama");
  const whole = await model.generateText(request);
  const controller = new AbortController();
  const pieces = model.generate({ ...request, signal: controller.signal });
  await pieces.next();
  controller.abort();
  const { result } = await listen(pieces);
  expect(result.finishReason).toBe("aborted");
  expect(result.ids.length).toBeLessThan(24);
  expect(whole.text.startsWith(result.text)).toBe(true);
  const before = await model.generateText({ ...request, signal: AbortSignal.abort() });
  expect(before).toMatchObject({ finishReason: "aborted", text: "", ids: [] });
  expect((await model.generateText(request)).ids).toEqual(whole.ids);
});

test("stops before a stop string, wherever tokens are cut", async () => {
  const model = await load("llama3");
  const { text } = await model.generateText(request);
  const stop = text.slice(7, 11);
  const { pieces, result } = await listen(model.generate({ ...request, stop: ["not there", stop] }));
  expect(result.finishReason).toBe("stop");
  expect(result.text).toBe(text.slice(0, text.indexOf(stop)));
  expect(pieces.map((p) => p.text).join("")).toBe(result.text);
});

test("ends where the context is full", async () => {
  const { promptTokens, ids } = await (await load("llama")).generateText(request);
  const model = await load("llama", { contextLength: promptTokens + 3 });
  const result = await model.generateText(request);
  expect(result).toMatchObject({ finishReason: "length", ids: ids.slice(0, 3) });
  const error = await errorOf(model.generateText({ prompt: "print the first line, please" }));
  expect(error).toBeInstanceOf(InputError);
  expect(error.message).toMatch(
    new RegExp(`prompt: has \\d+ tokens, which leaves no room in the context of ${promptTokens + 3}`),
  );
});

test("samples the same for a seed", async () => {
  const model = await load("llama3");
  const sample = async (seed: number) =>
    (await model.generateText({ ...request, temperature: 1.5, seed })).ids;
  expect(await sample(1)).toEqual(await sample(1));
  expect(await sample(2)).not.toEqual(await sample(1));
});

test("every wrong thing in a request is said at once, and leaves the model free", async () => {
  const model = await load("llama");
  const error = (await errorOf(
    model.generateText({ maxTokens: 0, topP: 2, temperature: -1, stop: [""] }),
  )) as InputError;
  expect(error.problems.map((p) => p.where)).toEqual([
    "messages, prompt",
    "maxTokens",
    "temperature",
    "topP",
    "stop string 1",
  ]);
  const messages = [{ role: "user", content: "a" }] as const;
  const wrong: [GenerateRequest, string][] = [
    [{ prompt: "a", messages }, "messages, prompt: expected one of the two"],
    [{ messages: [] }, "messages: is empty"],
    [{ messages, raw: true }, "raw: continues a prompt"],
    [{ prompt: "", raw: true }, "prompt: is empty: there is nothing to continue"],
    [{ prompt: "a", maxTokens: 1.5 }, "maxTokens: expected a whole number from 1, got 1.5"],
  ];
  for (const [bad, text] of wrong) expect((await errorOf(model.generateText(bad))).message).toContain(text);
  expect((await model.generateText({ ...request, prompt: "" })).ids).toHaveLength(24);
});

test.each(["llama3", "mistral"])("raw text starts with one BOS on %s, which wants it", async (name) => {
  const model = await load(name);
  const { tokenizer } = model.base;
  const ids = [1, ...tokenizer.encode("list the")];
  const { promptTokens, ids: got } = await model.generateText({
    prompt: "list the",
    raw: true,
    maxTokens: 8,
  });
  expect(promptTokens).toBe(ids.length);
  expect(got).toEqual(await greedyByLogits(model, ids, 8));
  const empty = await model.generateText({ prompt: "", raw: true, maxTokens: 8 });
  expect(empty.promptTokens).toBe(1);
  // Special tokens are special in raw text, so one that begins with BOS gets no second.
  const typed = await model.generateText({ prompt: "<|im_start|>list the", raw: true, maxTokens: 8 });
  expect([typed.promptTokens, typed.ids]).toEqual([ids.length, got]);
});

test("raw text has no BOS where the model expects none", async () => {
  const model = await load("llama");
  const ids = model.base.tokenizer.encode("list the");
  const result = await model.generateText({ prompt: "list the", raw: true, maxTokens: 8 });
  expect(result.promptTokens).toBe(ids.length);
  expect(result.ids).toEqual(await greedyByLogits(model, ids, 8));
});

test("log-probabilities are those of the model, before penalties and sampling, for every token", async () => {
  const model = await load("llama");
  const options = { ...request, temperature: 1.2, seed: 4, frequencyPenalty: 1 };
  const { pieces, result } = await listen(model.generate({ ...options, logprobs: 3 }));
  expect(pieces.flatMap((piece) => piece.logprobs ?? [])).toEqual(result.logprobs);
  expect(result.logprobs?.map(({ id }) => id)).toEqual(result.ids);
  expect(await model.generateText(options)).not.toHaveProperty("logprobs");
  const raw = { prompt: "list the", raw: true, maxTokens: 1, temperature: 5, logprobs: 2 };
  const [first] = (await model.generateText(raw)).logprobs ?? [];
  const [logits] = await model.nextLogits([model.base.tokenizer.encode("list the")]);
  const sum = (logits as Float32Array).reduce((n, logit) => n + Math.exp(logit), 0);
  const expected = (logits as Float32Array)[first?.id as number] as number;
  // float32 logits of two runs whose rows have other lengths.
  expect(Math.abs((first?.logprob as number) - (expected - Math.log(sum)))).toBeLessThan(1e-4);
  expect(first?.top).toHaveLength(2);
  expect(Buffer.from(first?.bytes as Uint8Array).toString()).toBe(first?.text);
});

test("no log-probability is lost where text is held back for a stop text", async () => {
  const model = await load("llama3");
  const { text } = await model.generateText(request);
  const stop = [text.slice(7, 11)];
  const { pieces, result } = await listen(model.generate({ ...request, stop, logprobs: 0 }));
  expect(result.finishReason).toBe("stop");
  expect(pieces.flatMap((piece) => piece.logprobs ?? []).map(({ id }) => id)).toEqual(result.ids);
});

test("wrong penalties and log-probabilities are said at once", async () => {
  const model = await load("llama");
  const wrong = { ...request, logprobs: 21, presencePenalty: 3, logitBias: { 99999: 1 } };
  const error = (await errorOf(model.generateText(wrong))) as InputError;
  expect(error.problems.map((p) => p.where)).toEqual(["logprobs", "logitBias", "presencePenalty"]);
});

test("an answer is held to its form, and all that is wrong in a schema is said with the rest", async () => {
  const model = await load("llama3");
  const properties = { name: { enum: ["a b", "é"] }, ok: { type: "boolean" } };
  const schema = { type: "object", properties, required: ["name", "ok"], additionalProperties: false };
  for (let seed = 0; seed < 3; seed++) {
    const options = { ...request, temperature: 1.5, seed, maxTokens: 60, responseFormat: schema };
    const { pieces, result } = await listen(model.generate(options));
    expect(result.finishReason).toBe("end");
    expect(pieces.map((piece) => piece.text).join("")).toBe(result.text);
    expect(["a b", "é"]).toContain(JSON.parse(result.text).name);
    expect([true, false]).toContain(JSON.parse(result.text).ok);
  }
  const begun = await model.generateText({ ...request, maxTokens: 3, responseFormat: "json" });
  expect(begun.text.trimStart().startsWith("{")).toBe(true);
  const wrong = { ...request, topP: 2, responseFormat: { type: "string", pattern: "a" } };
  const error = (await errorOf(model.generateText(wrong))) as InputError;
  expect(error.problems.map((p) => p.where)).toEqual(["responseFormat.pattern", "topP"]);
  expect(() =>
    continuationOf(model.base, { ...request, responseFormat: "json" }, 256, { prefix: [], infix: [] }),
  ).toThrow("openContinuation");
});

test("an answer of one call ends with it; what is special in a call stays in the text", async () => {
  const { base } = await load("llama");
  const template = {
    ...(base.template as NonNullable<typeof base.template>),
    toolCalls: toolCallForm("<tool_call>"),
  };
  const tools = [{ type: "function", function: { name: "f" } }];
  const said = 'Hi {"a": 1} <tool_call>{"name": "f", "arguments": {}}</tool_call>';
  const written = (options: Partial<GenerateRequest>): { text: string; finishReason: string } => {
    const asked = { prompt: "x", maxTokens: 200, tools, ...options };
    const one = continuationOf({ ...base, template }, asked, 256, { prefix: [], infix: [] });
    for (const id of base.tokenizer.encode(`${said} and more`)) {
      if (one.finishReason !== null) break;
      const logits = new Float32Array(base.config.vocabSize);
      logits[id] = 1;
      one.push(logits);
    }
    one.flush();
    return one.result();
  };
  expect(written({})).toMatchObject({ text: `${said} and more`, finishReason: "aborted" });
  const single = written({ parallelToolCalls: false });
  expect(single.finishReason).toBe("end");
  expect(single.text.startsWith(said)).toBe(true);
  expect(single.text).not.toContain("more");
});

test("token ids are continued as they are, and checked", async () => {
  const model = await load("llama");
  const ids = [...model.base.tokenizer.encode("ls -la"), 5];
  const result = await model.generateText({ promptIds: ids, maxTokens: 4 });
  expect(result.promptTokens).toBe(ids.length);
  const { vocabSize } = model.base.config;
  for (const [wrong, message] of [
    [
      { promptIds: [1, vocabSize] },
      `prompt[1]: the model has tokens 0 to ${vocabSize - 1}, got ${vocabSize}`,
    ],
    [{ promptIds: [0.5] }, "prompt[0]: the model has tokens"],
    [{ promptIds: [] }, "prompt: is empty"],
    [{ promptIds: [1], prompt: "a" }, "messages, prompt: expected one of the two, or promptIds"],
    [{ promptIds: [1], tools: [] }, "tools: needs the chat template"],
  ] as const)
    expect(String(await errorOf(model.generateText(wrong)))).toContain(message);
});

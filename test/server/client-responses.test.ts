import { createOpenAI } from "@ai-sdk/openai";
import { generateText } from "ai";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Engine } from "../../src/generate/engine/engine.ts";
import { openEngine } from "../../src/generate/engine/open.ts";
import type { LoadedModel } from "../../src/generate/loaded.ts";
import { createApp } from "../../src/server/app.ts";
import { serverParts } from "../../src/server/parts.ts";
import { listen, type RunningServer } from "../../src/server/serve.ts";
import { createLoader, modelPath } from "../generate/loading.ts";
import { fakeEngine } from "./fake-engine.ts";

const CONTEXT = 128;
const messages = [{ role: "user", content: "Hello there" }] as const;
const include: OpenAI.Responses.ResponseIncludable[] = ["message.output_text.logprobs"];

const loader = await createLoader();
/** What the answers are compared with. */
let model: LoadedModel;
let engine: Engine;
let server: RunningServer;
let openai: OpenAI;

beforeAll(async () => {
  model = await loader.load("llama", { contextLength: CONTEXT });
  const access = { cacheFolder: loader.folder, offline: true, threads: 1 };
  engine = await openEngine({ model: modelPath("llama"), contextLength: CONTEXT, ...access });
  server = await listen(createApp(serverParts({ engine, baseName: "tiny" })), { host: "127.0.0.1", port: 0 });
  openai = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "none" });
});

afterAll(async () => {
  await server.close(0, () => undefined);
  await engine.close();
  await loader.closeAll();
  await loader.remove();
});

/** Log-probabilities of the message of a response. */
function logprobsIn(response: OpenAI.Responses.Response) {
  const [item] = response.output;
  const part = item?.type === "message" ? item.content[0] : undefined;
  return part?.type === "output_text" ? (part.logprobs ?? []) : [];
}

describe("responses, by the openai package", () => {
  test("log-probabilities, whole and streamed, are the library's own", async () => {
    const own = (await model.generateText({ messages, maxTokens: 6, logprobs: 2 })).logprobs ?? [];
    const ask = { model: "tiny", input: "Hello there", max_output_tokens: 6, temperature: 0 };
    const whole = logprobsIn(await openai.responses.create({ ...ask, include, top_logprobs: 2 }));
    expect(whole).toEqual(
      own.map(({ text, logprob, bytes, top }) => ({
        ...{ token: text, logprob, bytes: [...bytes] },
        top_logprobs: top.map((one) => ({ token: one.text, logprob: one.logprob, bytes: [...one.bytes] })),
      })),
    );
    expect(whole).toHaveLength(6);
    const streamed: unknown[] = [];
    const stream = openai.responses.stream({ ...ask, include, top_logprobs: 2 });
    for await (const event of stream) {
      if (event.type === "response.output_text.delta") streamed.push(...event.logprobs);
      if (event.type === "response.output_text.done") expect(event.logprobs).toEqual(whole);
    }
    expect(streamed).toEqual(whole);
    expect(logprobsIn(await stream.finalResponse())).toEqual(whole);
    expect(logprobsIn(await openai.responses.create(ask))).toEqual([]);
    await expect(openai.responses.create({ ...ask, top_logprobs: 2 })).rejects.toMatchObject({
      status: 400,
      param: "top_logprobs",
    });
  });

  test("goes on from a response by its id, which can be read and deleted", async () => {
    const settings = { model: "tiny", max_output_tokens: 5, temperature: 0 };
    const first = await openai.responses.create({ ...settings, input: "Hello there" });
    const more = { ...settings, input: "And?", previous_response_id: first.id };
    const second = await openai.responses.create(more);
    const own = await model.generateText({
      messages: [
        ...messages,
        { role: "assistant", content: first.output_text },
        { role: "user", content: "And?" },
      ],
      maxTokens: 5,
    });
    expect(second.output_text).toBe(own.text);
    expect(second.usage?.input_tokens).toBe(own.promptTokens);
    expect((await openai.responses.retrieve(second.id)).output_text).toBe(own.text);
    await openai.responses.delete(first.id);
    await expect(openai.responses.retrieve(first.id)).rejects.toBeInstanceOf(OpenAI.NotFoundError);
    await expect(openai.responses.create(more)).rejects.toMatchObject({
      status: 400,
      code: "previous_response_not_found",
      param: "previous_response_id",
    });
    const unkept = await openai.responses.create({ ...settings, input: "Hello there", store: false });
    await expect(
      openai.responses.create({ ...more, previous_response_id: unkept.id }),
    ).rejects.toBeInstanceOf(OpenAI.BadRequestError);
  });
});

describe("responses, by the Vercel AI SDK", () => {
  test("previousResponseId and logprobs", async () => {
    const provider = createOpenAI({ baseURL: `${server.url}/v1`, apiKey: "none" });
    const settings = { model: provider("tiny"), maxOutputTokens: 5, temperature: 0 };
    const first = await generateText({
      ...settings,
      messages: [...messages],
      providerOptions: { openai: { logprobs: 3 } },
    });
    const [logprobs] = (first.providerMetadata?.openai?.logprobs ?? []) as { top_logprobs: unknown[] }[][];
    expect(logprobs).toHaveLength(5);
    expect(logprobs?.[0]?.top_logprobs).toHaveLength(3);
    const previousResponseId = first.providerMetadata?.openai?.responseId as string;
    const second = await generateText({
      ...settings,
      prompt: "And?",
      providerOptions: { openai: { previousResponseId } },
    });
    const own = await model.generateText({
      messages: [...messages, { role: "assistant", content: first.text }, { role: "user", content: "And?" }],
      maxTokens: 5,
    });
    expect(second.text).toBe(own.text);
  });
});

test("beside calls, the message of a response has the log-probabilities of its own tokens", async () => {
  const call = '<tool_call>{"name": "f", "arguments": {}}</tool_call>';
  const pieces = ["Let", " me", " <b", "> see.", ...call.match(/.{1,6}/g)!];
  const fake = fakeEngine({ template: "<tool_call>", answer: () => pieces, withLogprobs: true });
  const own = await listen(createApp(serverParts({ engine: fake, baseName: "tiny" })), {
    host: "127.0.0.1",
    port: 0,
  });
  const client = new OpenAI({ baseURL: `${own.url}/v1`, apiKey: "none" });
  const tools = [{ type: "function" as const, name: "f", parameters: null, strict: null }];
  const ask = { model: "tiny", input: "Hi", tools, include };
  const whole = await client.responses.create(ask);
  expect(whole.output.map(({ type }) => type)).toEqual(["message", "function_call"]);
  expect(logprobsIn(whole).map(({ token }) => token)).toEqual(["Let", " me", " <b", "> see."]);
  const stream = client.responses.stream(ask);
  expect(logprobsIn(await stream.finalResponse())).toEqual(logprobsIn(whole));
  await own.close(0, () => undefined);
});

test("completions continue token ids as they are", async () => {
  const ids = [...model.base.tokenizer.encode("Once upon a time")];
  const own = await model.generateText({ promptIds: ids, maxTokens: 6 });
  const ask = { model: "tiny", max_tokens: 6, temperature: 0 };
  const one = await openai.completions.create({ ...ask, prompt: ids });
  expect(one.choices[0]?.text).toBe(own.text);
  expect(one.usage?.prompt_tokens).toBe(ids.length);
  const several = await openai.completions.create({ ...ask, prompt: [ids, ids.slice(0, 2)] });
  expect(several.choices.map(({ text }) => text)).toEqual([
    own.text,
    (await model.generateText({ promptIds: ids.slice(0, 2), maxTokens: 6 })).text,
  ]);
  const vocabSize = model.base.config.vocabSize;
  await expect(openai.completions.create({ ...ask, prompt: [1, vocabSize] })).rejects.toMatchObject({
    status: 400,
    param: "prompt[1]",
    message: expect.stringContaining(`the model has tokens 0 to ${vocabSize - 1}, got ${vocabSize}`),
  });
  const long = Array(CONTEXT).fill(1);
  await expect(openai.completions.create({ ...ask, prompt: long })).rejects.toMatchObject({
    code: "context_length_exceeded",
  });
});

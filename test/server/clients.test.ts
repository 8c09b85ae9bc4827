import { setTimeout as delay } from "node:timers/promises";
import { createOpenAI } from "@ai-sdk/openai";
import { generateObject, generateText, stepCountIs, streamText, tool } from "ai";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import type { Engine, EngineRequest } from "../../src/generate/engine/engine.ts";
import { openEngine } from "../../src/generate/engine/open.ts";
import type { LoadedModel } from "../../src/generate/loaded.ts";
import { createApp } from "../../src/server/app.ts";
import { serverParts } from "../../src/server/parts.ts";
import { listen, type RunningServer } from "../../src/server/serve.ts";
import { adapterPath, createLoader, modelPath } from "../generate/loading.ts";
import { type FakeEngine, fakeEngine } from "./fake-engine.ts";

const CONTEXT = 128;
const messages = [{ role: "user", content: "Hello there" }] as const;

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
  await engine.loadAdapter("notes", adapterPath("llama"));
  server = await listen(createApp(serverParts({ engine, baseName: "tiny" })), { host: "127.0.0.1", port: 0 });
  openai = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "none" });
});

afterAll(async () => {
  await server.close(0, () => undefined);
  await engine.close();
  await loader.closeAll();
  await loader.remove();
});

describe("a body that comes without its length", () => {
  const post = (body: ReadableStream | string) => {
    const headers = { "content-type": "application/json" };
    const init = { method: "POST", headers, body, duplex: "half" } as RequestInit;
    return fetch(`${server.url}/v1/completions`, init);
  };
  const inPieces = (text: string, count: number) => {
    const pieces = Array.from({ length: count }, () => new TextEncoder().encode(text));
    return new ReadableStream({
      pull: (to) => {
        const piece = pieces.shift();
        if (piece) to.enqueue(piece);
        else to.close();
      },
    });
  };

  test("is read, and is too large where it is", async () => {
    const body = JSON.stringify({ model: "tiny", prompt: "Hello", max_tokens: 2 });
    expect((await post(inPieces(body, 1))).status).toBe(200);
    expect((await post(inPieces(" ".repeat(2 ** 20), 6))).status).toBe(413);
  });

  test("other methods are told so", async () => {
    const url = `${server.url}/v1/chat/completions`;
    expect((await fetch(url, { method: "DELETE" })).status).toBe(405);
    expect((await fetch(`${server.url}/nothing`, { method: "DELETE" })).status).toBe(404);
  });
});

describe("the openai package", () => {
  test("chat, whole and streamed, is the library's own answer; an adapter answers otherwise", async () => {
    const own = await model.generateText({ messages, maxTokens: 12 });
    const ask = { model: "tiny", messages: [...messages], max_tokens: 12, temperature: 0 };
    const whole = await openai.chat.completions.create(ask);
    expect(whole.choices[0]?.message.content).toBe(own.text);
    expect(whole.usage).toEqual({
      prompt_tokens: own.promptTokens,
      completion_tokens: own.ids.length,
      total_tokens: own.promptTokens + own.ids.length,
    });
    const stream = await openai.chat.completions.create({
      ...ask,
      stream: true,
      stream_options: { include_usage: true },
    });
    let text = "";
    let total = 0;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? "";
      total = chunk.usage?.total_tokens ?? total;
    }
    expect({ text, total }).toEqual({ text: own.text, total: whole.usage?.total_tokens });
    const adapted = await openai.chat.completions.create({ ...ask, model: "notes" });
    expect(adapted.choices[0]?.message.content).not.toBe(own.text);
    const qualified = await openai.chat.completions.create({ ...ask, model: "tiny:notes" });
    expect(qualified.choices[0]?.message.content).toBe(adapted.choices[0]?.message.content);
  });

  test("16 at once, of the base and an adapter, answer as each does alone", async () => {
    const one = async (i: number): Promise<string> => {
      const content = `Hello ${i % 4}`;
      const chosen = i % 2 === 0 ? "tiny" : "notes";
      const ask = {
        model: chosen,
        messages: [{ role: "user" as const, content }],
        max_tokens: 8,
        temperature: 0,
      };
      return (await openai.chat.completions.create(ask)).choices[0]?.message.content ?? "";
    };
    const alone: string[] = [];
    for (let i = 0; i < 4; i++) alone.push(await one(i));
    const together = await Promise.all(Array.from({ length: 16 }, (_, i) => one(i)));
    expect(together).toEqual(together.map((_, i) => alone[i % 4]));
    expect(new Set(alone).size).toBeGreaterThan(2);
  });

  test("log-probabilities, whole and streamed, are the library's own", async () => {
    const own = (await model.generateText({ messages, maxTokens: 4, logprobs: 2 })).logprobs ?? [];
    const ask = { model: "tiny", messages: [...messages], max_tokens: 4, temperature: 0, logprobs: true };
    const whole = await openai.chat.completions.create({ ...ask, top_logprobs: 2 });
    const content = whole.choices[0]?.logprobs?.content ?? [];
    expect(content.map(({ logprob }) => logprob)).toEqual(own.map(({ logprob }) => logprob));
    expect(content[0]?.top_logprobs.map(({ token }) => token)).toEqual(own[0]?.top.map(({ text }) => text));
    const streamed = [];
    for await (const chunk of await openai.chat.completions.create({ ...ask, top_logprobs: 2, stream: true }))
      streamed.push(...(chunk.choices[0]?.logprobs?.content ?? []));
    expect(streamed).toEqual(content);
    const raw = { model: "tiny", prompt: "Once upon", max_tokens: 4, temperature: 0, logprobs: 1 };
    const text = (await openai.completions.create(raw)).choices[0];
    expect(text?.logprobs?.token_logprobs).toHaveLength(4);
    const offsets: number[] = [];
    for await (const chunk of await openai.completions.create({ ...raw, stream: true }))
      offsets.push(...(chunk.choices[0]?.logprobs?.text_offset ?? []));
    expect(offsets).toEqual(text?.logprobs?.text_offset);
  });

  test("completions continue a text as it is", async () => {
    const own = await model.generateText({ prompt: "Once upon", raw: true, maxTokens: 8 });
    const ask = { model: "tiny", prompt: "Once upon", max_tokens: 8, temperature: 0 };
    expect((await openai.completions.create(ask)).choices[0]?.text).toBe(own.text);
    let text = "";
    for await (const { choices } of await openai.completions.create({ ...ask, stream: true }))
      text += choices[0]?.text ?? "";
    expect(text).toBe(own.text);
  });

  test("responses, whole and streamed", async () => {
    const own = await model.generateText({ messages, maxTokens: 12 });
    const ask = { model: "tiny", input: "Hello there", max_output_tokens: 12, temperature: 0 };
    const whole = await openai.responses.create(ask);
    expect(whole.output_text).toBe(own.text);
    expect(whole.status).toBe(own.finishReason === "length" ? "incomplete" : "completed");
    const types: string[] = [];
    const stream = openai.responses.stream(ask);
    for await (const event of stream) types.push(event.type);
    expect((await stream.finalResponse()).output_text).toBe(own.text);
    expect(types.slice(0, 4)).toEqual([
      "response.created",
      "response.in_progress",
      "response.output_item.added",
      "response.content_part.added",
    ]);
  });

  test("models: the base, and adapters under it", async () => {
    const { data } = await openai.models.list();
    expect(data).toMatchObject([
      { id: "tiny", root: "tiny", parent: null },
      { id: "notes", parent: "tiny" },
    ]);
    expect(await openai.models.retrieve("notes")).toMatchObject({ id: "notes" });
    await expect(openai.models.retrieve("org/none")).rejects.toBeInstanceOf(OpenAI.NotFoundError);
  });

  test("errors are the package's own kinds", async () => {
    const ask = { model: "tiny", messages: [...messages] };
    await expect(openai.chat.completions.create({ ...ask, model: "none" })).rejects.toMatchObject({
      status: 404,
      code: "model_not_found",
      param: "model",
    });
    await expect(openai.chat.completions.create({ ...ask, n: 1e6 })).rejects.toBeInstanceOf(
      OpenAI.BadRequestError,
    );
    const long = [{ role: "user" as const, content: "word ".repeat(500) }];
    await expect(openai.chat.completions.create({ ...ask, messages: long })).rejects.toMatchObject({
      status: 400,
      code: "context_length_exceeded",
    });
  });
});

describe("the Vercel AI SDK", () => {
  const provider = () => createOpenAI({ baseURL: `${server.url}/v1`, apiKey: "none" });

  test("generateText and streamText, by responses (its default) and by chat", async () => {
    const own = await model.generateText({ messages, maxTokens: 12 });
    for (const one of [provider()("tiny"), provider().chat("tiny")]) {
      const ask = { model: one, prompt: "Hello there", maxOutputTokens: 12, temperature: 0 };
      const { text, usage, finishReason } = await generateText(ask);
      expect(text).toBe(own.text);
      expect(usage.outputTokens).toBe(own.ids.length);
      expect(finishReason).toBe(own.finishReason === "length" ? "length" : "stop");
      const stream = streamText(ask);
      expect(await stream.text).toBe(own.text);
      expect((await stream.usage).inputTokens).toBe(own.promptTokens);
    }
  });

  test("generateObject gives what fits its schema, by both endpoints; a schema that cannot be held to is a 400", async () => {
    const schema = z.object({ colour: z.enum(["red", "blue"]), isOld: z.boolean() });
    for (const one of [provider()("tiny"), provider().chat("tiny")]) {
      const settings = { temperature: 0, maxOutputTokens: 60 };
      const { object } = await generateObject({ model: one, schema, prompt: "Hi", ...settings });
      expect(schema.parse(object)).toEqual(object);
    }
    const json_schema = { name: "x", schema: { type: "object", not: {} } };
    const ask = {
      model: "tiny",
      messages: [...messages],
      response_format: { type: "json_schema" as const, json_schema },
    };
    await expect(openai.chat.completions.create(ask)).rejects.toBeInstanceOf(OpenAI.BadRequestError);
  });

  test("a second turn refers to the first answer by its id", async () => {
    const one = provider()("tiny");
    const settings = { maxOutputTokens: 4, temperature: 0 };
    const first = await generateText({ model: one, messages: [...messages], ...settings });
    const more = { role: "user" as const, content: "And?" };
    const turns = [...messages, ...first.response.messages, more];
    const second = await generateText({ model: one, messages: turns, ...settings });
    const whole = await model.generateText({
      messages: [...messages, { role: "assistant", content: first.text }, more],
      maxTokens: 4,
    });
    expect(second.text).toBe(whole.text);
  });
});

describe("tools, by the Vercel AI SDK", () => {
  test("a call, its result, and the answer; by responses and by chat, whole and streamed", async () => {
    const call = '<tool_call>{"name": "add", "arguments": {"a": 1, "b": 2}}</tool_call>';
    const isAnswered = (request: EngineRequest): boolean => request.messages?.at(-1)?.role === "tool";
    const fake = fakeEngine({
      template: "<tool_call>",
      answer: (request) => (isAnswered(request) ? ["It is ", "3."] : ["<tool", call.slice(5)]),
    });
    const own = await listen(createApp(serverParts({ engine: fake, baseName: "tiny" })), {
      host: "127.0.0.1",
      port: 0,
    });
    const provider = createOpenAI({ baseURL: `${own.url}/v1`, apiKey: "none" });
    const add = tool({
      inputSchema: z.object({ a: z.number(), b: z.number() }),
      execute: async ({ a, b }) => a + b,
    });
    for (const one of [provider("tiny"), provider.chat("tiny")]) {
      const ask = { model: one, prompt: "1 + 2?", tools: { add }, stopWhen: stepCountIs(3) };
      const { text, steps } = await generateText(ask);
      expect(text).toBe("It is 3.");
      expect(steps[0]?.toolResults[0]?.output).toBe(3);
      expect(await streamText(ask).text).toBe("It is 3.");
    }
    expect(fake.asked.length).toBe(8);
    expect(fake.asked.at(-1)?.messages?.slice(1)).toMatchObject([
      { role: "assistant", tool_calls: [{ function: { name: "add", arguments: { a: 1, b: 2 } } }] },
      { role: "tool", content: "3" },
    ]);
    await own.close(0, () => undefined);
  });
});

describe("clients that go away, or are too many", () => {
  const serve = async (engine: FakeEngine): Promise<RunningServer> =>
    listen(createApp(serverParts({ engine, baseName: "tiny" })), { host: "127.0.0.1", port: 0 });
  const ask = { model: "tiny", messages: [...messages] };

  test("an abort frees the place, of a stream and of a whole answer", async () => {
    const engine = fakeEngine({ answer: () => Array(10_000).fill("x"), pieceMs: 1 });
    const own = await serve(engine);
    const client = new OpenAI({ baseURL: `${own.url}/v1`, apiKey: "none", maxRetries: 0 });
    const stream = await client.chat.completions.create({ ...ask, stream: true });
    for await (const chunk of stream) if (chunk.choices[0]?.delta.content === "x") break;
    const controller = new AbortController();
    const whole = client.chat.completions.create(ask, { signal: controller.signal });
    setTimeout(() => controller.abort(), 50);
    await expect(whole).rejects.toBeInstanceOf(OpenAI.APIUserAbortError);
    await delay(100);
    expect(engine.status).toMatchObject({ running: 0, waiting: 0 });
    expect(engine.taken).toBeLessThan(1000);
    await own.close(0, () => undefined);
  });

  test("a full queue is a 429 that the package tries again", async () => {
    const engine = fakeEngine({ maxBatch: 1, maxQueue: 0, pieceMs: 100 });
    const own = await serve(engine);
    const client = new OpenAI({ baseURL: `${own.url}/v1`, apiKey: "none", maxRetries: 0 });
    const first = client.chat.completions.create(ask);
    await expect.poll(() => engine.status.running, { interval: 2 }).toBe(1);
    await expect(client.chat.completions.create(ask)).rejects.toBeInstanceOf(OpenAI.RateLimitError);
    const patient = client.chat.completions.create(ask, { maxRetries: 2 });
    expect((await patient).choices[0]?.message.content).toBe("Hello, world!");
    await first;
    await own.close(0, () => undefined);
  });

  test("a reader that does not read holds the engine up, and little memory", async () => {
    const piece = "x".repeat(10_000);
    const engine = fakeEngine({ answer: () => Array(20_000).fill(piece) });
    const own = await serve(engine);
    const response = await fetch(`${own.url}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ ...ask, stream: true, max_tokens: 20_000 }),
    });
    const reader = response.body?.getReader();
    await reader?.read();
    await delay(800);
    expect(engine.taken).toBeLessThan(2000); // what the sockets' buffers hold: some MB of 200
    await reader?.cancel();
    await delay(100);
    expect(engine.status.running).toBe(0);
    await own.close(0, () => undefined);
  });

  test("200 at once against a queue of 64: each ends with an answer or a 429", async () => {
    const engine = fakeEngine({ maxBatch: 16, maxQueue: 64, pieceMs: 1 });
    const own = await serve(engine);
    const client = new OpenAI({ baseURL: `${own.url}/v1`, apiKey: "none", maxRetries: 0 });
    const one = async (i: number): Promise<string> => {
      try {
        if (i % 2 === 0) return (await client.chat.completions.create(ask)).choices[0]?.message.content ?? "";
        let text = "";
        for await (const chunk of await client.chat.completions.create({ ...ask, stream: true }))
          text += chunk.choices[0]?.delta.content ?? "";
        return text;
      } catch (error) {
        return error instanceof OpenAI.RateLimitError ? "429" : String(error);
      }
    };
    const answers = await Promise.all(Array.from({ length: 200 }, (_, i) => one(i)));
    const count = (text: string): number => answers.filter((answer) => answer === text).length;
    expect(count("Hello, world!") + count("429")).toBe(200);
    expect(count("Hello, world!")).toBeGreaterThanOrEqual(80);
    expect(engine.status).toMatchObject({ running: 0, waiting: 0 });
    await own.close(0, () => undefined);
  });

  test("a stop lets what runs end, takes nothing new, and cuts off what takes too long", async () => {
    const engine = fakeEngine({ answer: () => Array(50).fill("x"), pieceMs: 10 });
    const [stopping, ending] = [new AbortController(), new AbortController()];
    const parts = serverParts({ engine, baseName: "tiny", stopping: stopping.signal, ending: ending.signal });
    const own = await listen(createApp(parts), { host: "127.0.0.1", port: 0 });
    const client = new OpenAI({ baseURL: `${own.url}/v1`, apiKey: "none", maxRetries: 0 });
    const running = client.chat.completions.create(ask);
    const slow = client.chat.completions.create({ ...ask, max_tokens: 1000, n: 1 });
    await expect.poll(() => engine.status.running).toBe(2);
    stopping.abort();
    const closed = own.close(5000, () => ending.abort());
    expect((await running).choices[0]?.message.content).toBe("x".repeat(50));
    await slow;
    await closed;
    await expect(client.chat.completions.create(ask)).rejects.toBeInstanceOf(OpenAI.APIConnectionError);

    const endless = fakeEngine({ answer: () => Array(1e5).fill("x"), pieceMs: 2 });
    const second = new AbortController();
    const app = createApp(serverParts({ engine: endless, baseName: "tiny", ending: second.signal }));
    const other = await listen(app, { host: "127.0.0.1", port: 0 });
    const cut = new OpenAI({ baseURL: `${other.url}/v1`, apiKey: "none", maxRetries: 0 }).chat.completions
      .create({ ...ask, max_tokens: 1e5 })
      .catch((error: unknown) => error);
    await expect.poll(() => endless.status.running).toBe(1);
    await other.close(50, () => second.abort());
    expect(await cut).toMatchObject({ status: 503, code: "server_stopping" });
  });
});

import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { BusyError, ContextError, InputError, RuntimeError } from "../../src/errors.ts";
import { chatChunk, chatCompletion } from "../../src/server/routes/chat-schema.ts";
import { errorIn, eventsOf, fakeServer, HELLO } from "./fake-engine.ts";

const CHAT = "/v1/chat/completions";

describe("POST /v1/chat/completions", () => {
  test("answers with text, reason and usage", async () => {
    const { post, engine } = fakeServer();
    const response = await post(CHAT, HELLO);
    expect(response.status).toBe(200);
    const body = chatCompletion.parse(await response.json());
    expect(body).toMatchObject({
      object: "chat.completion",
      model: "tiny",
      choices: [
        { index: 0, message: { role: "assistant", content: "Hello, world!" }, finish_reason: "stop" },
      ],
      usage: { prompt_tokens: 3, completion_tokens: 3, total_tokens: 6 },
    });
    expect(engine.asked[0]).toMatchObject({ messages: HELLO.messages, temperature: 1, maxTokens: 128 });
    expect(engine.asked[0]?.adapters).toEqual({});
    expect(engine.status.running).toBe(0);
  });

  test("options have OpenAI's names; choices have seeds of their own, one after the other", async () => {
    const { post, engine } = fakeServer();
    const options = { temperature: 0.5, top_p: 0.9, top_k: -1, min_p: 0.1, repetition_penalty: 1.1, seed: 7 };
    const chat_template_kwargs = { enable_thinking: false };
    const others = { n: 2, stop: "x", max_completion_tokens: 2, chat_template_kwargs };
    const response = await post(CHAT, { ...HELLO, ...options, ...others });
    const body = chatCompletion.parse(await response.json());
    expect(body.choices.map((choice) => choice.finish_reason)).toEqual(["length", "length"]);
    expect(body.usage).toEqual({ prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 });
    const given = { temperature: 0.5, topP: 0.9, topK: 0, minP: 0.1, repetitionPenalty: 1.1, stop: ["x"] };
    const templateArgs = chat_template_kwargs;
    expect(engine.asked).toMatchObject([
      { ...given, seed: 7, maxTokens: 2, templateArgs },
      { ...given, seed: 8, maxTokens: 2, templateArgs },
    ]);
  });

  test("streams a role, pieces, a reason, usage where it is wanted, and [DONE]", async () => {
    const { post } = fakeServer();
    const response = await post(CHAT, { ...HELLO, stream: true, stream_options: { include_usage: true } });
    expect(response.headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
    const events = await eventsOf(response);
    expect(events.pop()).toBe("[DONE]");
    const chunks = events.map((event) => chatChunk.parse(event));
    expect(chunks.map(({ choices }) => choices[0]?.delta)).toEqual([
      { role: "assistant", content: "" },
      { content: "Hello" },
      { content: ", " },
      { content: "world!" },
      {},
      undefined,
    ]);
    expect(chunks.map(({ choices }) => choices[0]?.finish_reason ?? null)).toEqual([
      ...[null, null, null, null],
      "stop",
      null,
    ]);
    expect(chunks.map(({ usage }) => usage ?? null).slice(-2)).toEqual([
      null,
      { prompt_tokens: 3, completion_tokens: 3, total_tokens: 6 },
    ]);
  });

  test("without include_usage no event has it; several choices come side by side", async () => {
    const { post } = fakeServer();
    const events = await eventsOf(await post(CHAT, { ...HELLO, stream: true, n: 2 }));
    const chunks = events.slice(0, -1).map((event) => chatChunk.parse(event));
    for (const chunk of chunks) expect(chunk).not.toHaveProperty("usage");
    for (const index of [0, 1]) {
      const own = chunks.flatMap(({ choices }) => choices.filter((choice) => choice.index === index));
      expect(own.map(({ delta }) => delta.content ?? "").join("")).toBe("Hello, world!");
    }
  });

  test("everything wrong in a request is told together, unknown fields with a guess", async () => {
    const { post, engine } = fakeServer();
    const wrong = { temperatur: 1, top_p: 2, n: 1e6, max_tokens: 0, seed: -1, stop: [""], messages: [] };
    const response = await post(CHAT, { ...HELLO, ...wrong });
    expect(response.status).toBe(400);
    expect(response.headers.get("x-should-retry")).toBe("false");
    const error = await errorIn(response);
    expect(error).toMatchObject({ type: "invalid_request_error", param: null, code: "invalid_value" });
    expect(error.message.split("; ").sort()).toEqual([
      "did you mean temperature?",
      "max_tokens: expected number to be >=1",
      "messages: expected array to have >=1 items",
      "n: expected number to be <=16",
      "seed: expected number to be >=0",
      "stop[0]: expected string to have >=1 characters",
      "temperatur: there is no such field",
      "top_p: expected number to be <=1",
    ]);
    expect(engine.asked).toEqual([]);
  });

  test("an option without support is refused by its name where it asks for something, and taken where not", async () => {
    const { post } = fakeServer();
    const wanted = {
      store: true,
      service_tier: "priority",
    };
    for (const [name, value] of Object.entries(wanted)) {
      const response = await post(CHAT, { ...HELLO, [name]: value });
      expect(response.status, name).toBe(400);
      expect(await errorIn(response), name).toMatchObject({
        param: name,
        message: expect.stringContaining("not supported"),
      });
    }
    const neutral = {
      frequency_penalty: 0,
      presence_penalty: null,
      logit_bias: {},
      logprobs: false,
      tools: [],
      tool_choice: "auto",
      parallel_tool_calls: true,
      response_format: { type: "text" },
      store: false,
      service_tier: "auto",
      user: "u",
      metadata: { a: "b" },
    };
    expect((await post(CHAT, { ...HELLO, ...neutral })).status).toBe(200);
  });

  test("penalties, biases and log-probabilities reach the engine", async () => {
    const { post, engine } = fakeServer();
    const options = { frequency_penalty: 0.5, presence_penalty: -1, logit_bias: { "5": -100 } };
    await post(CHAT, { ...HELLO, ...options, logprobs: true, top_logprobs: 2 });
    expect(engine.asked[0]).toMatchObject({
      frequencyPenalty: 0.5,
      presencePenalty: -1,
      logitBias: { 5: -100 },
      logprobs: 2,
    });
    expect(await errorIn(await post(CHAT, { ...HELLO, top_logprobs: 2 }))).toMatchObject({
      param: "top_logprobs",
    });
    expect((await post(CHAT, { ...HELLO, logit_bias: { x: 1 } })).status).toBe(400);
  });

  test("a response format reaches the engine, also beside tools", async () => {
    const { post, engine } = fakeServer({ template: "<tool_call>" });
    const schema = { type: "object", properties: { a: { type: "integer" } }, required: ["a"] };
    const formats = [{ type: "json_object" }, { type: "json_schema", json_schema: { name: "x", schema } }];
    for (const response_format of formats) await post(CHAT, { ...HELLO, response_format });
    expect(engine.asked.map(({ responseFormat }) => responseFormat)).toEqual(["json", schema]);
    const tools = [{ type: "function", function: { name: "f" } }];
    expect((await post(CHAT, { ...HELLO, tools, response_format: formats[0] })).status).toBe(200);
    expect(engine.asked.at(-1)).toMatchObject({ tools, responseFormat: "json" });
    const wrong = await post(CHAT, { ...HELLO, response_format: { type: "xml" } });
    expect((await errorIn(wrong)).param).toMatch(/^response_format/);
  });

  test("a choice of tools reaches the engine; one of none, or of another, is told", async () => {
    const { post, engine } = fakeServer({ template: "<tool_call>" });
    const tools = ["f", "g"].map((name) => ({ type: "function", function: { name } }));
    const named = { type: "function", function: { name: "g" } };
    for (const tool_choice of ["auto", "required", named]) await post(CHAT, { ...HELLO, tools, tool_choice });
    expect(engine.asked.map(({ toolChoice }) => toolChoice)).toEqual(["auto", "required", { name: "g" }]);
    await post(CHAT, { ...HELLO, tools, parallel_tool_calls: false });
    expect(engine.asked.at(-1)?.parallelToolCalls).toBe(false);
    const cases = [
      [{ tool_choice: "required" }, "tool_choice: asks for a call, but there are no tools"],
      [
        { tools, tool_choice: { type: "function", function: { name: "h" } } },
        'tool_choice: there is no tool "h"',
      ],
      [{ tools, tool_choice: { type: "allowed_tools" } }, /^tool_choice/],
      [{ tools, tool_choice: "always" }, /^tool_choice/],
    ] as const;
    for (const [wrong, message] of cases) {
      const response = await post(CHAT, { ...HELLO, ...wrong });
      expect(response.status).toBe(400);
      expect((await errorIn(response)).message).toMatch(message);
    }
  });

  test("at most one call: further ones of a list are left out, whole and streamed", async () => {
    const tools = [{ type: "function", function: { name: "f" } }];
    const list = '[TOOL_CALLS][{"name": "f", "arguments": {}}, {"name": "f", "arguments": {"a": 1}}]';
    const { post } = fakeServer({ answer: () => [list], template: "[TOOL_CALLS]" });
    for (const [parallel_tool_calls, count] of [
      [true, 2],
      [false, 1],
    ] as const) {
      const ask = { ...HELLO, tools, parallel_tool_calls };
      const body = chatCompletion.parse(await (await post(CHAT, ask)).json());
      expect(body.choices[0]?.message.tool_calls).toHaveLength(count);
      const events = await eventsOf(await post(CHAT, { ...ask, stream: true }));
      const chunks = events.slice(0, -1).map((event) => chatChunk.parse(event).choices[0]);
      expect(chunks.flatMap((choice) => choice?.delta.tool_calls ?? [])).toHaveLength(count);
    }
  });

  test("tools: calls are told from text, whole and streamed", async () => {
    const tools = [{ type: "function", function: { name: "f", parameters: { type: "object" } } }];
    const answer = () => [
      "Let me",
      " see.<tool",
      '_call>{"name": "f", "argu',
      'ments": {"a": 1}}</tool_call>',
    ];
    const { post, engine } = fakeServer({ answer, template: "<tool_call>" });
    const body = chatCompletion.parse(await (await post(CHAT, { ...HELLO, tools })).json());
    expect(body.choices).toMatchObject([
      {
        message: {
          content: "Let me see.",
          tool_calls: [{ type: "function", function: { name: "f", arguments: '{"a": 1}' } }],
        },
        finish_reason: "tool_calls",
      },
    ]);
    expect(engine.asked[0]?.tools).toEqual(tools);
    const events = await eventsOf(await post(CHAT, { ...HELLO, tools, stream: true }));
    const chunks = events.slice(0, -1).map((event) => chatChunk.parse(event).choices[0]);
    expect(chunks.map((choice) => choice?.delta)).toMatchObject([
      { role: "assistant" },
      { content: "Let me" },
      { content: " see." },
      { tool_calls: [{ index: 0, function: { name: "f", arguments: '{"a": 1}' } }] },
      {},
    ]);
    expect(chunks.at(-1)?.finish_reason).toBe("tool_calls");
    const none = await post(CHAT, { ...HELLO, tools, tool_choice: "none" });
    expect(chatCompletion.parse(await none.json()).choices[0]?.message.content).toContain("<tool_call>");
    expect(engine.asked.at(-1)?.tools).toBeUndefined();
  });

  test("tools are refused where the model has no known form of calls", async () => {
    const tools = [{ type: "function", function: { name: "f" } }];
    const { post } = fakeServer();
    expect(await errorIn(await post(CHAT, { ...HELLO, tools }))).toMatchObject({ param: "tools" });
    const malformed = [{ type: "function", function: { name: "f g" } }];
    expect((await post(CHAT, { ...HELLO, tools: malformed })).status).toBe(400);
  });

  test("a chat template in a request is refused", async () => {
    const { post } = fakeServer();
    const response = await post(CHAT, { ...HELLO, chat_template: "{{ 1 }}" });
    expect(await errorIn(response)).toMatchObject({ param: "chat_template" });
  });

  test("messages: parts, developer as system, calls with arguments as objects; wrong ones by their place", async () => {
    const { post, engine } = fakeServer();
    const call = { id: "c1", type: "function", function: { name: "f", arguments: '{"a":1}' } };
    const messages = [
      { role: "developer", content: "Be brief." },
      { role: "user", content: [{ type: "text", text: "Hi" }], name: "ann" },
      { role: "assistant", content: null, refusal: null, tool_calls: [call] },
      { role: "tool", content: "2", tool_call_id: "c1" },
    ];
    expect((await post(CHAT, { model: "tiny", messages })).status).toBe(200);
    expect(engine.asked[0]?.messages).toEqual([
      { role: "system", content: "Be brief." },
      { role: "user", content: [{ type: "text", text: "Hi" }], name: "ann" },
      {
        role: "assistant",
        content: null,
        tool_calls: [{ ...call, function: { name: "f", arguments: { a: 1 } } }],
      },
      { role: "tool", content: "2", tool_call_id: "c1" },
    ]);
    const image = [{ role: "user", content: [{ type: "image_url", image_url: { url: "http://x" } }] }];
    expect(await errorIn(await post(CHAT, { model: "tiny", messages: image }))).toMatchObject({
      message: expect.stringContaining("messages[0].content[0].type"),
    });
    const broken = [
      { role: "assistant", tool_calls: [{ ...call, function: { name: "f", arguments: "{" } }] },
    ];
    expect(await errorIn(await post(CHAT, { model: "tiny", messages: broken }))).toMatchObject({
      param: "messages[0].tool_calls[0].function.arguments",
    });
  });

  test("what is no JSON, no object, or no JSON by its type", async () => {
    const { post } = fakeServer();
    for (const body of ["", "{", "[]", '{"model":"tiny","model":"x"}', `${"[".repeat(1e5)}`])
      expect((await post(CHAT, body)).status, body.slice(0, 20)).toBe(400);
    const response = await post(CHAT, HELLO, { "content-type": "text/plain" });
    expect(response.status).toBe(415);
    expect((await post(CHAT, { ...HELLO, user: "x".repeat(5 * 2 ** 20) })).status).toBe(413);
    expect(
      (await post(CHAT, JSON.stringify({ ...HELLO, temperature: 0 }).replace("0}", "1e999}"))).status,
    ).toBe(400);
  });

  test("models: adapters, base:adapter, mixtures; never the base for a name that is none", async () => {
    const { post, engine } = fakeServer({ adapters: ["sql", "notes"] });
    for (const model of ["sql", "tiny:sql"]) await post(CHAT, { ...HELLO, model });
    await post(CHAT, { ...HELLO, lora: [{ name: "sql", weight: 0.5 }, { name: "notes" }] });
    expect(engine.asked.map(({ adapters }) => adapters)).toEqual([
      { sql: 1 },
      { sql: 1 },
      { sql: 0.5, notes: 1 },
    ]);
    for (const model of ["none", "tiny:none", "tiny:", "other:sql", "__proto__", "constructor"]) {
      const response = await post(CHAT, { ...HELLO, model });
      expect(response.status, model).toBe(404);
      expect(await errorIn(response)).toMatchObject({ code: "model_not_found", param: "model" });
    }
    const lora = [{ name: "sql" }, { name: "sql" }];
    expect(await errorIn(await post(CHAT, { ...HELLO, lora }))).toMatchObject({ param: "lora" });
    expect((await post(CHAT, { ...HELLO, model: "sql", lora: [{ name: "notes" }] })).status).toBe(400);
    expect(engine.asked.length).toBe(3);
  });

  test("errors of the engine before the first piece have their status", async () => {
    const overflow = new ContextError(
      "the request cannot be generated from",
      [{ where: "prompt", message: "has 200 tokens, which leaves no room in the context of 128" }],
      128,
    );
    const cases: [Error, number, object][] = [
      [overflow, 400, { code: "context_length_exceeded", message: expect.stringMatching(/200 tokens.*128/) }],
      [new InputError("x", [{ where: "topK", message: "m" }]), 400, { param: "top_k", message: "top_k: m" }],
      [new BusyError("64 requests wait"), 429, { code: "queue_full", type: "rate_limit_error" }],
      [new RuntimeError("the model's output is broken"), 500, { type: "server_error" }],
      [new Error("secret /path"), 500, { message: "the server failed; its log says why" }],
    ];
    for (const [error, status, expected] of cases) {
      const { post } = fakeServer({ refuse: () => error });
      for (const stream of [true, false]) {
        const response = await post(CHAT, { ...HELLO, stream });
        expect(response.status).toBe(status);
        expect(response.headers.get("retry-after")).toBe(status === 429 ? "1" : null);
        expect(response.headers.get("x-should-retry")).toBe(String(status === 429));
        expect(await errorIn(response)).toMatchObject(expected);
      }
    }
  });

  test("an error under way is the stream's last event", async () => {
    const { post, engine } = fakeServer({ answer: () => ["a", new RuntimeError("broken")] });
    const events = await eventsOf(await post(CHAT, { ...HELLO, stream: true }));
    expect(events.at(-1)).toEqual({
      error: { message: "broken", type: "server_error", param: null, code: "internal_error" },
    });
    expect((await post(CHAT, HELLO)).status).toBe(500);
    expect(engine.status.running).toBe(0);
  });

  test("several choices begin together or not at all; more than there is ever room for are no matter of time", async () => {
    const { post, engine } = fakeServer({ maxBatch: 2, maxQueue: 1, pieceMs: 5 });
    const never = await post(CHAT, { ...HELLO, n: 4 });
    expect(never.status).toBe(400);
    expect(await errorIn(never)).toMatchObject({
      param: "n",
      message: expect.stringMatching(/in all; this server .* 3 at most/),
    });
    const running = post(CHAT, HELLO);
    await expect.poll(() => engine.status.running, { interval: 1 }).toBe(1);
    const later = await post(CHAT, { ...HELLO, n: 3 });
    expect([later.status, later.headers.get("x-should-retry")]).toEqual([429, "true"]);
    expect(engine.asked).toHaveLength(1);
    expect((await running).status).toBe(200);
    expect((await post(CHAT, { ...HELLO, n: 3 })).status).toBe(200);
  });

  test("of several choices, one that is refused ends the others", async () => {
    const { post, engine } = fakeServer({ refuse: ({ seed }) => (seed === 8 ? new BusyError("x") : null) });
    expect((await post(CHAT, { ...HELLO, n: 4, seed: 6 })).status).toBe(429);
    await delay(10);
    expect(engine.status).toMatchObject({ running: 0, waiting: 0 });
  });

  test("more choices than places take turns", async () => {
    const { post } = fakeServer({ maxBatch: 2, pieceMs: 1 });
    const body = chatCompletion.parse(await (await post(CHAT, { ...HELLO, n: 5 })).json());
    expect(body.choices.map(({ message }) => message.content)).toEqual(Array(5).fill("Hello, world!"));
  });
});

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { InputError } from "../../src/errors.ts";
import type { LoadedModel } from "../../src/generate/loaded.ts";
import { createApp } from "../../src/server/app.ts";
import { serverParts } from "../../src/server/parts.ts";
import { createResponseMemory } from "../../src/server/response-memory.ts";
import { responseObject } from "../../src/server/routes/response-schema.ts";
import { createLoader } from "../generate/loading.ts";
import { errorIn, eventsOf, fakeEngine, fakeServer, HELLO } from "./fake-engine.ts";

// What is wrong with a shape fails in the expectation that reads it.
// biome-ignore lint/suspicious/noExplicitAny: bodies of any shape
const jsonOf = (response: Response): Promise<any> => response.json();

describe("POST /v1/completions", () => {
  test("several texts, each with n continuations", async () => {
    const { post, engine } = fakeServer({ answer: ({ prompt }) => [`${prompt}!`] });
    const response = await post("/v1/completions", { model: "tiny", prompt: ["a", "b"], n: 2 });
    expect(await response.json()).toMatchObject({
      object: "text_completion",
      choices: ["a!", "a!", "b!", "b!"].map((text, index) => ({ index, text, finish_reason: "stop" })),
      usage: { prompt_tokens: 6, completion_tokens: 4, total_tokens: 10 },
    });
    expect(engine.asked[0]).toMatchObject({ prompt: "a", raw: true, maxTokens: 16 });
    const events = await eventsOf(
      await post("/v1/completions", { model: "tiny", prompt: "a", stream: true }),
    );
    expect(events).toMatchObject([
      { choices: [{ index: 0, text: "a!" }] },
      { choices: [{ finish_reason: "stop" }] },
      "[DONE]",
    ]);
  });

  test("token ids, of one prompt or several", async () => {
    const { post, engine } = fakeServer();
    await post("/v1/completions", { model: "tiny", prompt: [5, 6] });
    const several = await jsonOf(
      await post("/v1/completions", { model: "tiny", prompt: [[5], [6, 7]], n: 2 }),
    );
    expect(engine.asked.map(({ promptIds }) => promptIds)).toEqual([[5, 6], [5], [5], [6, 7], [6, 7]]);
    expect(engine.asked[0]).not.toHaveProperty("prompt");
    expect(several.choices).toHaveLength(4);
  });

  test("refuses what it does not do", async () => {
    const { post } = fakeServer();
    for (const wrong of [
      { echo: true },
      { suffix: "x" },
      { best_of: 2 },
      { logprobs: 21 },
      { prompt: [1, "a"] },
      { prompt: [] },
      { prompt: [[1], []] },
      { prompt: [-1] },
    ])
      expect((await post("/v1/completions", { model: "tiny", prompt: "a", ...wrong })).status).toBe(400);
    const many = { model: "tiny", prompt: Array(10).fill("a"), n: 2 };
    expect(await errorIn(await post("/v1/completions", many))).toMatchObject({ param: "n" });
  });
});

describe("POST /v1/responses", () => {
  const ask = { model: "tiny", input: "Hi" };

  test("instructions, items and parts become messages", async () => {
    const { post, engine } = fakeServer();
    const input = [
      { role: "developer", content: "d" },
      { role: "user", content: [{ type: "input_text", text: "Hi" }] },
      { type: "message", role: "assistant", content: [{ type: "output_text", text: "Yes" }], id: "msg_1" },
    ];
    const response = await post("/v1/responses", { ...ask, instructions: "i", input });
    expect(response.status).toBe(200);
    expect(engine.asked[0]?.messages).toEqual([
      { role: "system", content: "i" },
      { role: "system", content: "d" },
      { role: "user", content: [{ type: "text", text: "Hi" }] },
      { role: "assistant", content: [{ type: "text", text: "Yes" }] },
    ]);
  });

  test("a cut answer is incomplete; one that is kept can be referred to, one that is not cannot", async () => {
    const { post, engine } = fakeServer();
    const first = await jsonOf(await post("/v1/responses", { ...ask, max_output_tokens: 1 }));
    expect(first).toMatchObject({
      status: "incomplete",
      incomplete_details: { reason: "max_output_tokens" },
    });
    const id = first.output[0].id;
    const again = {
      ...ask,
      input: [
        { type: "item_reference", id },
        { role: "user", content: "And?" },
      ],
    };
    expect((await post("/v1/responses", again)).status).toBe(200);
    expect(engine.asked.at(-1)?.messages?.[0]).toEqual({ role: "assistant", content: "Hello" });
    const unkept = await jsonOf(await post("/v1/responses", { ...ask, store: false }));
    const wrong = { ...ask, input: [{ type: "item_reference", id: unkept.output[0].id }] };
    expect(await errorIn(await post("/v1/responses", wrong))).toMatchObject({ code: "item_not_found" });
  });

  test("refuses by name what it does not do", async () => {
    const { post } = fakeServer();
    const wanted = {
      tools: [{ type: "web_search" }],
      conversation: "conv_1",
      background: true,
      truncation: "auto",
      include: ["reasoning.encrypted_content"],
      text: { verbosity: "low" },
      tool_choice: "required",
      reasoning: { effort: "low" },
      top_logprobs: 2, // without include
      n: 2,
    };
    for (const [name, value] of Object.entries(wanted)) {
      const response = await post("/v1/responses", { ...ask, [name]: value });
      expect(response.status, name).toBe(400);
      expect((await errorIn(response)).message).toMatch(new RegExp(`^${name}`));
    }
  });

  test("tools and formats reach the engine; calls and their results come back as messages", async () => {
    const call = '<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>';
    const { post, engine } = fakeServer({ answer: () => ["Wait.", call], template: "<tool_call>" });
    const tools = [{ type: "function", name: "f", parameters: { type: "object" } }];
    const whole = responseObject.parse(await jsonOf(await post("/v1/responses", { ...ask, tools })));
    expect(whole.output).toMatchObject([
      { type: "message", content: [{ text: "Wait." }] },
      { type: "function_call", name: "f", arguments: '{"a": 1}', status: "completed" },
    ]);
    expect(engine.asked[0]?.tools).toEqual([
      { type: "function", function: { name: "f", parameters: { type: "object" } } },
    ]);
    const [said, called] = whole.output;
    const output = { type: "function_call_output", call_id: "c1", output: "2" };
    const own = { type: "function_call", call_id: "c1", name: "f", arguments: "{}" };
    const turns = [{ role: "user", content: "Hi" }, said, own, output];
    await post("/v1/responses", { ...ask, tools, input: turns });
    expect(engine.asked.at(-1)?.messages?.slice(1)).toMatchObject([
      {
        role: "assistant",
        content: [{ type: "text", text: "Wait." }],
        tool_calls: [{ id: "c1", type: "function", function: { name: "f", arguments: {} } }],
      },
      { role: "tool", content: "2", tool_call_id: "c1" },
    ]);
    const ids = [said, called].map((item) => ({ type: "item_reference", id: item?.id }));
    await post("/v1/responses", { ...ask, tools, input: ids });
    expect(engine.asked.at(-1)?.messages).toMatchObject([
      { role: "assistant", content: "Wait.", tool_calls: [{ function: { name: "f", arguments: { a: 1 } } }] },
    ]);
    const schema = { type: "object" };
    const format = { type: "json_schema", name: "x", schema };
    await post("/v1/responses", { ...ask, text: { format } });
    expect(engine.asked.at(-1)?.responseFormat).toEqual(schema);
    const both = { ...ask, tools, text: { format }, tool_choice: { type: "function", name: "f" } };
    const answer = responseObject.parse(await jsonOf(await post("/v1/responses", both)));
    expect(engine.asked.at(-1)).toMatchObject({ responseFormat: schema, toolChoice: { name: "f" } });
    expect(answer.tool_choice).toEqual({ type: "function", name: "f" });
    const { post: refusing } = fakeServer({
      template: "<tool_call>",
      refuse: () =>
        new InputError("x", [
          { where: "tools[1].function.parameters.properties.aB", message: "m" },
          { where: "responseFormat.properties.aB", message: "m" },
        ]),
    });
    expect((await errorIn(await refusing("/v1/responses", both))).message).toBe(
      "tools[1].parameters.properties.aB: m; text.format.schema.properties.aB: m",
    );
  });

  test("goes on from a response that is kept; instructions are not taken over", async () => {
    const { post, engine, app } = fakeServer();
    const first = await jsonOf(await post("/v1/responses", { ...ask, instructions: "old" }));
    const more = { ...ask, input: "And?", previous_response_id: first.id };
    const second = await jsonOf(await post("/v1/responses", { ...more, instructions: "new" }));
    expect(second.previous_response_id).toBe(first.id);
    const history = [
      { role: "user", content: "Hi" },
      { role: "assistant", content: "Hello, world!" },
      { role: "user", content: "And?" },
    ];
    expect(engine.asked.at(-1)?.messages).toEqual([{ role: "system", content: "new" }, ...history]);
    const third = { ...ask, input: "So?", previous_response_id: second.id, store: false, stream: true };
    const events = (await eventsOf(await post("/v1/responses", third))) as { response: { id: string } }[];
    expect(engine.asked.at(-1)?.messages).toEqual([
      ...history,
      { role: "assistant", content: "Hello, world!" },
      { role: "user", content: "So?" },
    ]);

    const at = (id: string) => `/v1/responses/${id}`;
    expect(await jsonOf(await app.request(at(second.id)))).toEqual(second);
    const unkept = events[0]?.response.id as string;
    expect((await app.request(at(unkept))).status).toBe(404);
    const lost = await post("/v1/responses", { ...more, previous_response_id: unkept });
    expect(lost.status).toBe(400);
    expect(await errorIn(lost)).toMatchObject({
      code: "previous_response_not_found",
      param: "previous_response_id",
      message: expect.stringContaining("send the conversation as input"),
    });
    const gone = await app.request(at(first.id), { method: "DELETE" });
    expect(await jsonOf(gone)).toEqual({ id: first.id, object: "response", deleted: true });
    expect((await app.request(at(first.id), { method: "DELETE" })).status).toBe(404);
    const broken = await errorIn(await post("/v1/responses", { ...more, previous_response_id: second.id }));
    expect(broken.message).toContain(`a response that "${second.id}" goes on from`);
  });

  test("memory is bounded: the responses used least recently leave, with their items", () => {
    const memory = createResponseMemory(100);
    const kept = (item: string, previous: string | null = null) => ({
      response: "r".repeat(10),
      input: ["i".repeat(10)],
      output: new Map([[item, "o".repeat(10)]]),
      previous,
    });
    memory.keep("a", kept("x"));
    memory.keep("b", kept("y", "a"));
    memory.keep("c", kept("z"));
    expect(memory.conversation("b")).toHaveLength(4); // uses a and b
    memory.keep("d", kept("u"));
    expect(["a", "b", "c", "d"].map((id) => memory.recall(id) !== undefined)).toEqual([
      true,
      true,
      false,
      true,
    ]);
    expect(memory.recallItem("z")).toBeUndefined();
    expect(memory.recallItem("y")).toBe("o".repeat(10));
    memory.keep("e", { ...kept("v"), response: "r".repeat(1000) });
    expect(memory.recall("e")).toBeUndefined();
  });

  test("log-probabilities, where they are asked for", async () => {
    const { post, engine } = fakeServer();
    const include = ["message.output_text.logprobs"];
    expect((await post("/v1/responses", { ...ask, include, top_logprobs: 3 })).status).toBe(200);
    expect(engine.asked.at(-1)?.logprobs).toBe(3);
    await post("/v1/responses", { ...ask, include });
    expect(engine.asked.at(-1)?.logprobs).toBe(0);
    await post("/v1/responses", ask);
    expect(engine.asked.at(-1)).not.toHaveProperty("logprobs");
  });

  test("an error under way fails the response", async () => {
    const { post } = fakeServer({ answer: () => ["a", new Error("x")] });
    const events = await eventsOf(await post("/v1/responses", { ...ask, stream: true }));
    expect(events.slice(-2)).toMatchObject([
      { type: "error", code: "internal_error" },
      { type: "response.failed", response: { status: "failed" } },
    ]);
  });
});

describe("around the answers", () => {
  test("health, readiness, metrics", async () => {
    const stopping = new AbortController();
    const { app, post } = fakeServer({ adapters: ["a"] }, { stopping: stopping.signal });
    await post("/v1/chat/completions", HELLO);
    await post("/v1/chat/completions", {});
    const metrics = await (await app.request("/metrics")).text();
    for (const line of [
      "lowrank_requests_running 0",
      "lowrank_adapters_loaded 1",
      "lowrank_prompt_tokens_total 3",
      "lowrank_generated_tokens_total 3",
      "lowrank_time_to_first_token_seconds_count 1",
      'lowrank_request_seconds_count{route="/v1/chat/completions",status="200"} 1',
      'lowrank_request_seconds_count{route="/v1/chat/completions",status="400"} 1',
    ])
      expect(metrics).toContain(`${line}\n`);
    expect((await app.request("/readyz")).status).toBe(200);
    stopping.abort();
    expect((await app.request("/readyz")).status).toBe(503);
    expect((await app.request("/healthz")).status).toBe(200);
    const refused = await post("/v1/chat/completions", HELLO);
    expect(refused.status).toBe(503);
    expect(refused.headers.get("x-should-retry")).toBe("true");
  });

  test("addresses and methods that are none", async () => {
    const { app } = fakeServer();
    expect(await errorIn(await app.request("/v2"))).toMatchObject({ code: "not_found" });
    const wrong = await app.request("/v1/chat/completions");
    expect([wrong.status, wrong.headers.get("allow")]).toEqual([405, "POST"]);
    const metrics = await (await app.request("/metrics")).text();
    expect(metrics).not.toContain("/v2");
  });

  test("an answer that takes too long ends as a time-out", async () => {
    const slow = { answer: () => Array(1000).fill("x"), pieceMs: 5 };
    const { post, engine } = fakeServer(slow, { limits: { bodyBytes: 1000, requestMs: 50 } });
    const response = await post("/v1/chat/completions", { ...HELLO, max_tokens: 1000 });
    expect(response.status).toBe(504);
    expect(await errorIn(response)).toMatchObject({ code: "request_timeout" });
    const events = await eventsOf(
      await post("/v1/chat/completions", { ...HELLO, stream: true, max_tokens: 1000 }),
    );
    expect(events.at(-1)).toMatchObject({ error: { code: "request_timeout" } });
    expect(engine.status.running).toBe(0);
  });

  test("openapi.json says what the routes check, and every route is in it", async () => {
    const { app } = fakeServer();
    const document = await jsonOf(await app.request("/openapi.json"));
    expect(document.openapi).toBe("3.1.0");
    const paths = Object.keys(document.paths).sort();
    expect(paths).toEqual([
      "/dashboard/runs/{id}",
      "/dashboard/status",
      "/detokenize",
      "/healthz",
      "/metrics",
      "/readyz",
      "/tokenize",
      "/v1/chat/completions",
      "/v1/completions",
      "/v1/embeddings",
      "/v1/load_lora_adapter",
      "/v1/models",
      "/v1/models/{id}",
      "/v1/responses",
      "/v1/responses/{id}",
      "/v1/unload_lora_adapter",
    ]);
    const body = document.paths["/v1/chat/completions"].post.requestBody.content["application/json"].schema;
    expect(body).toMatchObject({
      type: "object",
      additionalProperties: false,
      required: ["model", "messages"],
    });
    expect(body.properties.temperature.anyOf[0]).toMatchObject({ type: "number", minimum: 0 });
    const ids = Object.values(document.paths).flatMap((path) =>
      Object.values(path as object).map(({ operationId }) => operationId),
    );
    expect(new Set(ids).size).toBe(ids.length);
  });
});

/** An engine as far as its base counts. */
const engineOn = ({ base }: LoadedModel) => ({
  ...fakeEngine(),
  base,
  contextLength: 64,
  speaking: async () => base,
});

describe("POST /tokenize and /detokenize", () => {
  const loader = createLoader();
  let model: LoadedModel;
  beforeAll(async () => {
    model = await (await loader).load("llama", { contextLength: 64 });
  });
  afterAll(async () => {
    await (await loader).closeAll();
    await (await loader).remove();
  });

  test("are the model's tokenizer and template, and each other's inverse", async () => {
    const app = createApp(serverParts({ engine: engineOn(model), baseName: "tiny" }));
    const post = async (path: string, body: unknown) => {
      const headers = { "content-type": "application/json" };
      const response = await app.request(path, { method: "POST", headers, body: JSON.stringify(body) });
      return { status: response.status, body: await jsonOf(response) };
    };
    const { tokenizer } = model.base;
    const plain = await post("/tokenize", { prompt: "Hello there", add_special_tokens: false });
    const tokens = tokenizer.encode("Hello there");
    expect(plain.body).toEqual({ count: tokens.length, max_model_len: 64, tokens, token_strs: null });
    expect((await post("/detokenize", { tokens })).body).toEqual({ prompt: "Hello there" });
    const messages = [{ role: "user", content: "Hi" }];
    const chat = await post("/tokenize", { messages, return_token_strs: true });
    const { promptTokens } = await model.generateText({
      messages: [{ role: "user", content: "Hi" }],
      maxTokens: 1,
    });
    expect(chat.body.count).toBe(promptTokens);
    expect(chat.body.token_strs).toHaveLength(promptTokens);
    expect((await post("/tokenize", {})).status).toBe(400);
    expect((await post("/tokenize", { prompt: "x".repeat(1e6) })).body.error.code).toBe(
      "context_length_exceeded",
    );
    expect((await post("/tokenize", { model: "none", prompt: "x" })).status).toBe(404);
    expect((await post("/detokenize", { tokens: [-1] })).status).toBe(400);
    expect((await post("/detokenize", { tokens: [1e9] })).body.error.param).toBe("tokens[0]");
  });
});

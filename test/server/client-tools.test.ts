import { cp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createOpenAI } from "@ai-sdk/openai";
import { generateText, streamText, tool } from "ai";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import type { Engine } from "../../src/generate/engine/engine.ts";
import { openEngine } from "../../src/generate/engine/open.ts";
import { createApp } from "../../src/server/app.ts";
import { serverParts } from "../../src/server/parts.ts";
import { listen, type RunningServer } from "../../src/server/serve.ts";
import { createLoader, modelPath } from "../generate/loading.ts";

/** What a template says of calls; the rest of it is that of the tiny model. */
const FORMS = {
  hermes: '<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>',
  llama: '{"name": function name, "parameters": dictionary of argument name and its value}',
  mistral: "[TOOL_CALLS][",
};

const Light = z.object({ room: z.enum(["hall", "attic"]), isOn: z.boolean(), note: z.string().max(3) });
const Pair = z.object({ first: z.enum(["a", "b"]), more: z.union([z.null(), z.boolean()]) });
const SHAPES: Readonly<Record<string, z.ZodType>> = { light: Light, pair: Pair, nothing: z.strictObject({}) };
const functions = [
  { name: "light", description: "Switches a light", parameters: z.toJSONSchema(Light) },
  { name: "pair", parameters: z.toJSONSchema(Pair) },
  { name: "nothing" },
];
const tools = functions.map((one) => ({ type: "function" as const, function: one }));
const flatTools = functions.map((one) => ({
  type: "function" as const,
  parameters: null,
  strict: null,
  ...one,
}));
const messages = [{ role: "user" as const, content: "Hello there" }];

const loader = await createLoader();
const engines: Engine[] = [];
const servers: RunningServer[] = [];

async function serve(form: keyof typeof FORMS): Promise<RunningServer> {
  const folder = join(loader.folder, form);
  await cp(modelPath("llama"), folder, { recursive: true });
  const file = join(folder, "tokenizer_config.json");
  const config = JSON.parse(await readFile(file, "utf8"));
  config.chat_template = `{# ${FORMS[form]} #}${config.chat_template}`;
  await writeFile(file, JSON.stringify(config));
  const access = { cacheFolder: loader.folder, offline: true, threads: 1 };
  const engine = await openEngine({ model: folder, contextLength: 256, ...access });
  engines.push(engine);
  const app = createApp(serverParts({ engine, baseName: "tiny" }));
  const server = await listen(app, { host: "127.0.0.1", port: 0 });
  servers.push(server);
  return server;
}

afterAll(async () => {
  for (const server of servers) await server.close(0, () => undefined);
  for (const engine of engines) await engine.close();
  await loader.closeAll();
  await loader.remove();
});

/** Calls that fit; of an answer that was cut there may be none. */
function check(calls: readonly { readonly name: string; readonly arguments: string }[]): void {
  for (const call of calls) {
    const shape = SHAPES[call.name];
    expect(shape, call.name).toBeDefined();
    if (!call.arguments.includes("\ufffd")) shape?.parse(JSON.parse(call.arguments));
  }
}

describe.each(["hermes", "llama", "mistral"] as const)("random weights, calls in the form %s", (form) => {
  let openai: OpenAI;
  let url: string;
  beforeAll(async () => {
    url = `${(await serve(form)).url}/v1`;
    openai = new OpenAI({ baseURL: url, apiKey: "none", maxRetries: 0 });
  });

  test("chat, required: nothing but calls that fit, whole and streamed alike", async () => {
    let whole = 0;
    for (let seed = 0; seed < 4; seed++) {
      const ask = { model: "tiny", messages, tools, tool_choice: "required" as const, seed };
      const [choice] = (await openai.chat.completions.create(ask)).choices;
      const calls = (choice?.message.tool_calls ?? []).flatMap((one) =>
        "function" in one ? [one.function] : [],
      );
      check(calls);
      if (choice?.finish_reason === "tool_calls") {
        whole++;
        expect(choice.message.content).toBeNull();
        expect(calls.length).toBeGreaterThan(0);
      } else expect(choice?.finish_reason).toBe("length");
      const streamed: { name: string; arguments: string }[] = [];
      for await (const chunk of await openai.chat.completions.create({ ...ask, stream: true }))
        for (const { function: said } of chunk.choices[0]?.delta.tool_calls ?? [])
          streamed.push({ name: said?.name ?? "", arguments: said?.arguments ?? "" });
      expect(streamed).toEqual(calls);
    }
    expect(whole).toBeGreaterThan(0);
  });

  test("chat, one function, at most one call", async () => {
    for (let seed = 0; seed < 3; seed++) {
      const [choice] = (
        await openai.chat.completions.create({
          ...{ model: "tiny", messages, tools, seed, parallel_tool_calls: false },
          tool_choice: { type: "function", function: { name: "pair" } },
        })
      ).choices;
      expect(choice?.finish_reason).toBe("tool_calls");
      const calls = (choice?.message.tool_calls ?? []).flatMap((one) =>
        "function" in one ? [one.function] : [],
      );
      expect(calls.map(({ name }) => name)).toEqual(["pair"]);
      check(calls);
    }
  });

  test("responses, one function; by the AI SDK, required and one, by both endpoints", async () => {
    const response = await openai.responses.create({
      ...{
        model: "tiny",
        input: "Hello there",
        tools: flatTools,
        parallel_tool_calls: false,
        temperature: 0,
      },
      tool_choice: { type: "function", name: "light" },
    });
    const [item] = response.output;
    expect(item).toMatchObject({ type: "function_call", name: "light" });
    if (item?.type === "function_call") check([item]);
    expect(response.tool_choice).toEqual({ type: "function", name: "light" });

    const provider = createOpenAI({ baseURL: url, apiKey: "none" });
    const execute = async () => "done";
    const switched = Light.omit({ note: true }); // no random bytes, whose number of characters is a matter of taste
    const own = {
      light: tool({ inputSchema: switched, execute }),
      pair: tool({ inputSchema: Pair, execute }),
    };
    for (const model of [provider("tiny"), provider.chat("tiny")]) {
      const options = { openai: { parallelToolCalls: false } };
      const ask = { model, prompt: "Hello there", tools: own, providerOptions: options };
      const any = await generateText({ ...ask, toolChoice: "required" });
      expect(any.toolCalls).toHaveLength(1);
      const one = streamText({ ...ask, toolChoice: { type: "tool", toolName: "pair" } });
      const [call, ...others] = await one.toolCalls;
      expect(others).toEqual([]);
      expect(call).toMatchObject({ toolName: "pair", input: Pair.parse(call?.input) });
    }
  });

  test("beside a response format an answer is calls or fits it", async () => {
    const shape = z.strictObject({ answer: z.boolean() });
    const json_schema = { name: "x", schema: z.toJSONSchema(shape) };
    let texts = 0;
    for (let seed = 0; seed < 8; seed++) {
      const [choice] = (
        await openai.chat.completions.create({
          ...{ model: "tiny", messages, tools, seed, parallel_tool_calls: false },
          response_format: { type: "json_schema", json_schema },
        })
      ).choices;
      const calls = (choice?.message.tool_calls ?? []).flatMap((one) =>
        "function" in one ? [one.function] : [],
      );
      check(calls);
      if (calls.length > 0 || choice?.finish_reason === "length") continue;
      shape.parse(JSON.parse(choice?.message.content ?? ""));
      texts++;
    }
    if (form === "llama") expect(texts).toBeGreaterThan(0); // others need a rare beginning
  });

  test("parameters that cannot be held to are a 400 that names them, and any object with strict: false", async () => {
    const odd = {
      name: "odd",
      parameters: { type: "object", properties: { a: { type: "number", multipleOf: 2 } } },
    };
    const ask = {
      ...{ model: "tiny", messages, tool_choice: "required" as const, max_tokens: 200 },
      tools: [{ type: "function" as const, function: odd }],
    };
    await expect(openai.chat.completions.create(ask)).rejects.toMatchObject({
      status: 400,
      param: "tools[0].function.parameters.properties.a.multipleOf",
    });
    const loose = [{ type: "function" as const, function: { ...odd, strict: false } }];
    const [choice] = (await openai.chat.completions.create({ ...ask, tools: loose })).choices;
    for (const one of choice?.message.tool_calls ?? [])
      if ("function" in one) expect(JSON.parse(one.function.arguments)).toBeTypeOf("object");
  });
});

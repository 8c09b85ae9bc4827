import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import OpenAI from "openai";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Engine } from "../../src/generate/engine/engine.ts";
import { openEngine } from "../../src/generate/engine/open.ts";
import { noLog } from "../../src/server/log.ts";
import { type StartedServer, startServer } from "../../src/server/start.ts";
import { modelPath } from "../generate/loading.ts";
import { encoderFolder } from "../models/encoders.ts";
import { fixturePath } from "../peft/adapters.ts";
import { errorIn, fakeServer } from "./fake-engine.ts";

let folder: string;
let engine: Engine;
let server: StartedServer;
let openai: OpenAI;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "lowrank-embeddings-"));
  const own = { offline: true, threads: 1, cacheFolder: folder };
  engine = await openEngine({ model: encoderFolder("bert"), ...own });
  const adapters = [encoderFolder("bert")];
  const where = { host: "127.0.0.1", port: 0, adapters, keys: [], origins: [], log: noLog };
  server = await startServer(engine, { baseName: "tiny", ...where });
  openai = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "none", maxRetries: 0 });
});
afterAll(async () => {
  await server.stop(0);
  await engine.close();
  await rm(folder, { recursive: true, force: true });
});

interface Expected {
  readonly text: string;
  readonly ids: number[];
  readonly mean: number[];
}

async function expectedOf(which: "base" | "adapter"): Promise<Expected[]> {
  const all = JSON.parse(await readFile(fixturePath("embeddings/embeddings.json"), "utf8"));
  return all.bert[which] as Expected[];
}

function near(found: readonly number[] | undefined, wanted: readonly number[] | undefined): void {
  expect(found).toHaveLength(wanted?.length ?? -1);
  found?.forEach((x, i) => {
    expect(x).toBeCloseTo(wanted?.[i] ?? Number.NaN, 5);
  });
}

test("the openai package asks for base64 by itself, and for floats; an adapter is a model", async () => {
  expect((await openai.models.list()).data.map(({ id }) => id)).toEqual(["tiny", "adapter"]);
  for (const model of ["base", "adapter"] as const) {
    const expected = await expectedOf(model);
    for (const format of [{}, { encoding_format: "float" as const }]) {
      const input = expected.map(({ text }) => text);
      const answer = await openai.embeddings.create({
        model: model === "base" ? "tiny" : model,
        input,
        ...format,
      });
      expect(answer.data.map(({ index }) => index)).toEqual([0, 1, 2, 3]);
      answer.data.forEach(({ embedding }, i) => {
        near(embedding, expected[i]?.mean);
      });
      const tokens = expected.reduce((n, { ids }) => n + ids.length, 0);
      expect(answer.usage).toEqual({ prompt_tokens: tokens, total_tokens: tokens });
    }
  }
});

test("a text, its tokens, and several of these", async () => {
  const [first, second] = (await expectedOf("base")) as [Expected, Expected];
  const cases = [[first.text], [first.ids], [[first.ids, second.ids]]].flat() as (
    | string
    | number[]
    | number[][]
  )[];
  for (const input of cases) {
    const { data } = await openai.embeddings.create({ model: "tiny", input, dimensions: 32 });
    near(data[0]?.embedding, first.mean);
  }
});

test("what cannot be right is refused", async () => {
  const cases: [object, number, RegExp][] = [
    [{ input: "a", dimensions: 16 }, 400, /dimensions: embeddings of this model have 32 numbers/],
    [{ input: "" }, 400, /input/],
    [{ input: [] }, 400, /input/],
    [{ input: [["a"]] }, 400, /input/],
    [{ input: [-1] }, 400, /input/],
    [{ input: [171] }, 400, /tokens 0 to 170, got 171/],
    [{ input: "x ".repeat(60) }, 400, /has 62 tokens; this model takes at most 40/],
    [{ input: "a", encoding_format: "int8" }, 400, /encoding_format/],
    [{ input: "a", model: "other" }, 404, /does not exist/],
  ];
  for (const [body, status, message] of cases) {
    const error = await openai.embeddings.create({ model: "tiny", ...body } as never).catch((one) => one);
    expect([error.status, error.message], JSON.stringify(body)).toEqual([
      status,
      expect.stringMatching(message),
    ]);
  }
  const chat = openai.chat.completions.create({ model: "tiny", messages: [{ role: "user", content: "Hi" }] });
  await expect(chat).rejects.toMatchObject({ status: 400, message: expect.stringMatching(/is an encoder/) });
});

test("a decoder makes none, and says why", async () => {
  const own = await openEngine({ model: modelPath("llama"), offline: true, threads: 1, cacheFolder: folder });
  const { post } = fakeServer({}, { engine: own });
  const refused = await post("/v1/embeddings", { model: "tiny", input: "a" });
  expect(refused.status).toBe(400);
  expect((await errorIn(refused)).message).toMatch(
    /is a decoder \(LlamaForCausalLM\): it generates text and makes no embeddings/,
  );
  await own.close();
});

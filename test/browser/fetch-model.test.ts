import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, expect, test } from "vitest";
import { fetchModel } from "../../src/browser/fetch-model.ts";
import { memoryStorage } from "../../src/io/storage/memory-storage.ts";

/** Files by their addresses; "a" and "b" are models of the same sizes, and "b" has no template. */
const FILES: Readonly<Record<string, string>> = {
  "/a/config.json": '{"of":"a"}',
  "/a/tokenizer.json": "{}",
  "/a/chat_template.jinja": "template of a",
  "/a/model.safetensors": "weights of a",
  "/b/config.json": '{"of":"b"}',
  "/b/tokenizer.json": "{}",
  "/b/model.safetensors": "weights of b",
};

let server: Server;
let url: string;
let asked: string[] = [];
let isBroken = false;

beforeAll(async () => {
  server = createServer((request, response) => {
    const path = request.url ?? "";
    asked.push(path);
    const file = FILES[path];
    if (file === undefined) return void response.writeHead(404).end();
    if (isBroken && path === "/b/model.safetensors") {
      response.writeHead(200, { "content-length": file.length }).write(file.slice(0, 3));
      return void setTimeout(() => response.destroy(), 20);
    }
    response.writeHead(200, { "content-length": file.length }).end(file);
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => void server.close());

test("what is there from the same address is not asked for again", async () => {
  const storage = memoryStorage("model");
  await fetchModel(`${url}/a`, { storage });
  asked = [];
  await fetchModel(`${url}/a`, { storage });
  expect(asked).toEqual([]);
});

test("a fetch that breaks off leaves nothing that passes for another model, and nothing of that one in the next", async () => {
  const storage = memoryStorage("model");
  const text = async (name: string): Promise<string> => new TextDecoder().decode(await storage.read(name));
  await fetchModel(`${url}/a/`, { storage });
  isBroken = true;
  await expect(fetchModel(`${url}/b/`, { storage })).rejects.toMatchObject({
    name: "NetworkError",
    message: expect.stringMatching(/\/b\/model\.safetensors: the connection broke/),
  });
  isBroken = false;
  await fetchModel(`${url}/a/`, { storage });
  expect([await text("config.json"), await text("model.safetensors")]).toEqual([
    '{"of":"a"}',
    "weights of a",
  ]);
  await fetchModel(`${url}/b/`, { storage });
  expect([await text("config.json"), await text("model.safetensors")]).toEqual([
    '{"of":"b"}',
    "weights of b",
  ]);
  expect(await storage.size("chat_template.jinja")).toBeNull();
});

test("a compressed file is longer than what was told, where its encoding is not told", async () => {
  const content = "x".repeat(1000);
  const told = gzipSync(content).length;
  const fetched = globalThis.fetch;
  globalThis.fetch = async (address) =>
    String(address).endsWith(".gguf")
      ? new Response(content, { headers: { "content-length": String(told) } })
      : new Response(null, { status: 404 });
  try {
    const storage = await fetchModel("http://elsewhere/m.gguf", { storage: memoryStorage("model") });
    expect(await storage.size("m.gguf")).toBe(1000);
  } finally {
    globalThis.fetch = fetched;
  }
});

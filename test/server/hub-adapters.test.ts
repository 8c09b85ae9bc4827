import { mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Engine } from "../../src/generate/engine/engine.ts";
import { openEngine } from "../../src/generate/engine/open.ts";
import { type App, createApp } from "../../src/server/app.ts";
import { hubAdapters, isAllowed } from "../../src/server/hub-adapters.ts";
import { noLog } from "../../src/server/log.ts";
import { serverParts } from "../../src/server/parts.ts";
import { adapterPath, modelPath } from "../generate/loading.ts";
import { type FakeFile, type FakeHub, startHub } from "../hub/server.ts";
import { errorIn } from "./fake-engine.ts";

let hub: FakeHub;
let cache: string;
let engine: Engine;

beforeEach(async () => {
  hub = await startHub();
  cache = await mkdtemp(join(tmpdir(), "lowrank-hub-"));
  vi.stubEnv("HF_HUB_OFFLINE", "");
  vi.stubEnv("HF_TOKEN", "");
  engine = await openEngine({ model: modelPath("llama"), threads: 1, offline: true });
  hub.repos.set("model:org/mine", await filesOf(adapterPath("llama")));
  hub.repos.set("model:org/other", await filesOf(adapterPath("gpt2")));
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await engine.close();
  await hub.close();
  await rm(cache, { recursive: true, force: true });
});

async function filesOf(folder: string): Promise<Record<string, FakeFile>> {
  const names = (await readdir(folder)).filter((name) => /^adapter_/.test(name));
  const files = names.map(async (name) => [name, { content: await readFile(join(folder, name)) }] as const);
  return Object.fromEntries(await Promise.all(files));
}

function serve(allowed: readonly string[], retryAfterMs = 60_000): App {
  const own = { hubUrl: hub.url, hubCacheDir: cache, retryMs: 5, answerTimeoutMs: 500 };
  const adapters = hubAdapters({ allowed, engine, baseName: "tiny", log: noLog, hub: own, retryAfterMs });
  return createApp(serverParts({ engine, baseName: "tiny", hub: adapters }));
}

const ask = (app: App, model: string, more: object = {}): Promise<Response> =>
  Promise.resolve(
    app.request("/v1/chat/completions", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ model, messages: [{ role: "user", content: "Hi" }], max_tokens: 2, ...more }),
    }),
  );

describe("an adapter of the Hub", () => {
  test("is fetched once by requests side by side, is a model from then on, and is part of mixtures", async () => {
    const app = serve(["org"]);
    const answers = await Promise.all([1, 2, 3, 4].map(() => ask(app, "org/mine")));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    expect(hub.downloads.filter((line) => line.includes("adapter_model"))).toHaveLength(1);
    const { data } = (await (await app.request("/v1/models")).json()) as { data: { id: string }[] };
    expect(data.map(({ id }) => id)).toEqual(["tiny", "org/mine"]);
    await engine.unloadAdapter("org/mine");
    const mixed = await ask(app, "tiny", { lora: [{ name: "org/mine", weight: 0.5 }] });
    expect(mixed.status).toBe(200);
    expect(hub.downloads.filter((line) => line.includes("adapter_model"))).toHaveLength(1);
    const tokens = await app.request("/tokenize", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ model: "org/mine", prompt: "Hi" }),
    });
    expect(tokens.status).toBe(200);
  });

  test("is asked of nobody unless it is allowed: no path, no address, no revision, no other owner", async () => {
    const off = createApp(serverParts({ engine, baseName: "tiny" }));
    expect((await ask(off, "org/mine")).status).toBe(404);
    const app = serve(["org/m*"]);
    await mkdir(join(cache, "org", "m"), { recursive: true });
    const refused = [
      ...["org/other", "else/mine", "org/mine@main", "org/mine/a.gguf", "org/m/../mine", "org/.mine"],
      ...[`${hub.url}/org/mine`, join(cache, "org", "m"), "./org/m", "~/m", "../org/m", "mine"],
    ];
    for (const name of refused) expect([name, (await ask(app, name)).status]).toEqual([name, 404]);
    expect(hub.requests).toEqual([]);
    expect((await ask(app, "org/mine")).status).toBe(200);
    expect(isAllowed("a/b", ["*"])).toBe(true);
    expect(isAllowed("a/b", [])).toBe(false);
    expect(isAllowed("a/b", ["A", "a/c", "b"])).toBe(false);
    expect(isAllowed("a/b-c", ["a/b?c"])).toBe(true);
  });

  test("that is not there, does not fit or is too large says so, and is not asked for again for a while", async () => {
    const app = serve(["*"]);
    const huge = { content: Buffer.alloc(65 * 2 ** 20) };
    const { "adapter_config.json": config } = await filesOf(adapterPath("llama"));
    hub.repos.set("model:org/huge", {
      "adapter_config.json": config as FakeFile,
      "adapter_model.safetensors": huge,
    });
    const cases: [string, number, string, RegExp][] = [
      ["org/nothing", 404, "model_not_found", /org\/nothing/],
      ["org/other", 400, "adapter_not_usable", /does not fit this model/],
      ["org/huge", 400, "adapter_not_usable", /has 68157440 bytes, the limit/],
    ];
    for (const [name, status, code, message] of cases) {
      const first = await ask(app, name);
      expect(first.headers.get("x-should-retry")).toBe("false");
      const error = await errorIn(first);
      expect([first.status, error.code, error.param], error.message).toEqual([status, code, "model"]);
      expect(error.message).toMatch(message);
      expect(error.message).not.toContain(cache);
      const asked = hub.requests.length;
      expect(await errorIn(await ask(app, name))).toEqual(error);
      expect(hub.requests).toHaveLength(asked);
    }
    expect(hub.downloads.filter((line) => line.includes("huge/") && line.includes("model"))).toEqual([]);
  });

  test("beyond four at a time is told to try again; a client that leaves does not end it for others", async () => {
    const app = serve(["org"]);
    hub.silent = true;
    const waiting = ["a", "b", "c", "d"].map((name) => ask(app, `org/${name}`));
    const gone = new AbortController();
    const left = app.request("/v1/completions", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ model: "org/a", prompt: "Hi" }),
      signal: gone.signal,
    });
    await vi.waitFor(() => expect(hub.requests).toHaveLength(4));
    gone.abort();
    expect((await left).status).toBe(499);
    const fifth = await ask(app, "org/mine");
    expect([fifth.status, fifth.headers.get("x-should-retry")]).toEqual([429, "true"]);
    expect((await Promise.all(waiting)).map(({ status }) => status)).toEqual([503, 503, 503, 503]);
    hub.silent = false;
    expect((await ask(app, "org/mine")).status).toBe(200);
  });

  test("that could not be had is asked for again after that while; a Hub that is not reached is a 503", async () => {
    const app = serve(["org"], 50);
    hub.deny = { status: 500 };
    expect((await ask(app, "org/mine")).status).toBe(503);
    hub.deny = null;
    await delay(60);
    expect((await ask(app, "org/mine")).status).toBe(200);
  });
});

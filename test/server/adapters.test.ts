import { cp, mkdir, mkdtemp, rename, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { FormatError } from "../../src/errors.ts";
import { openEngine } from "../../src/generate/engine/open.ts";
import { type AdapterLibrary, openLibrary } from "../../src/server/adapter-library.ts";
import { createApp } from "../../src/server/app.ts";
import { jsonLog } from "../../src/server/log.ts";
import { serverParts } from "../../src/server/parts.ts";
import { adapterPath, modelPath } from "../generate/loading.ts";
import { errorIn, type FakeEngine, fakeEngine, HELLO } from "./fake-engine.ts";

let folder: string;
let engine: FakeEngine;
let lines: { event: string; adapter?: string; reason?: string }[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "lowrank-adapters-"));
  engine = fakeEngine();
  lines = [];
});

afterEach(() => rm(folder, { recursive: true }));

async function writeAdapter(name: string, text = "{}"): Promise<string> {
  await mkdir(join(folder, name), { recursive: true });
  await writeFile(join(folder, name, "adapter_config.json"), text);
  await writeFile(join(folder, name, "adapter_model.safetensors"), text);
  return join(folder, name);
}

function open(): Promise<AdapterLibrary> {
  const log = jsonLog((line) => lines.push(JSON.parse(line)));
  return openLibrary({ folders: [folder], engine, baseName: "tiny", log, everyMs: null });
}

const names = () => [...engine.loaded.keys()].sort();

describe("folders of adapters", () => {
  test("what is an adapter is loaded under its name; other things are left", async () => {
    await writeAdapter("sql");
    await writeAdapter("run-1/adapter");
    await writeFile(join(folder, "notes.gguf"), "GGUF");
    await writeFile(join(folder, "README.md"), "");
    await mkdir(join(folder, "empty"));
    await writeAdapter(".hidden");
    await writeAdapter("tiny");
    await writeAdapter("bad name");
    await open();
    expect(names()).toEqual(["notes", "run-1", "sql"]);
    expect(lines.filter(({ event }) => event === "adapter_skipped").map(({ adapter }) => adapter)).toEqual([
      "bad name",
      "tiny",
    ]);
  });

  test("new ones are loaded when two looks agree, changed ones again, removed ones unloaded", async () => {
    const library = await open();
    await writeAdapter("a");
    await library.scan();
    expect(names()).toEqual([]);
    await writeFile(join(folder, "a", "adapter_model.safetensors"), "more"); // still being written
    await library.scan();
    expect(names()).toEqual([]);
    await library.scan();
    expect(names()).toEqual(["a"]);
    await library.scan();
    await utimes(join(folder, "a", "adapter_config.json"), 1, 1);
    await library.scan();
    await library.scan();
    await rename(join(folder, "a"), join(folder, "b"));
    await library.scan();
    expect(names()).toEqual([]);
    await library.scan();
    expect(names()).toEqual(["b"]);
    expect(lines.map(({ event, adapter }) => `${event} ${adapter}`)).toEqual([
      "adapter_loaded a",
      "adapter_reloaded a",
      "adapter_unloaded a",
      "adapter_loaded b",
    ]);
  });

  test("what a run writes beside its adapter is no change of it", async () => {
    await writeAdapter("run-1/adapter");
    const library = await open();
    await writeFile(join(folder, "run-1", "metrics.jsonl"), "{}");
    for (let i = 0; i < 2; i++) await library.scan();
    await writeAdapter("run-1/adapter", "{ }");
    for (let i = 0; i < 2; i++) await library.scan();
    expect(lines.map(({ event }) => event)).toEqual(["adapter_loaded", "adapter_reloaded"]);
  });

  test("one that cannot be read is told once and tried again when it changes; what was loaded before stays", async () => {
    let isBroken = false;
    const { loadAdapter } = engine;
    engine.loadAdapter = async (name, path) => {
      if (isBroken) throw new FormatError(name, "is cut short");
      await loadAdapter(name, path);
    };
    await writeAdapter("a");
    const library = await open();
    isBroken = true;
    await writeAdapter("a", "{ }");
    await writeAdapter("b");
    for (let i = 0; i < 4; i++) await library.scan();
    expect(names()).toEqual(["a"]);
    expect(lines.filter(({ event }) => event === "adapter_failed").map(({ reason }) => reason)).toEqual([
      "a: is cut short",
      "b: is cut short",
    ]);
    isBroken = false;
    await writeAdapter("b", "{  }");
    for (let i = 0; i < 2; i++) await library.scan();
    expect(names()).toEqual(["a", "b"]);
  });

  test("a folder that is not there is an error; one that goes away later is not", async () => {
    const missing = { folders: [join(folder, "x")], engine, baseName: "tiny", log: jsonLog(() => undefined) };
    await expect(openLibrary(missing)).rejects.toThrow("there is no such folder");
    const library = await open();
    await rm(folder, { recursive: true });
    await library.scan();
    await mkdir(folder);
  });

  test("links that lead out of the folder are not followed, neither of a folder nor of a file in it", async () => {
    const outside = await mkdtemp(join(tmpdir(), "lowrank-outside-"));
    await writeFile(join(outside, "adapter_config.json"), "{}");
    await symlink(outside, join(folder, "out"));
    await writeAdapter("leak");
    await symlink("/etc/hostname", join(folder, "leak", "tokenizer.json"));
    await open();
    expect(names()).toEqual([]);
    expect(lines.map(({ adapter }) => adapter).sort()).toEqual(["leak", "out"]);
    await rm(outside, { recursive: true });
  });
});

describe("POST /v1/load_lora_adapter and /v1/unload_lora_adapter", () => {
  async function server() {
    const library = await open();
    const app = createApp(serverParts({ engine, baseName: "tiny", library }));
    const headers = { "content-type": "application/json" };
    const post = async (path: string, body: unknown): Promise<Response> =>
      app.request(path, { method: "POST", headers, body: JSON.stringify(body) });
    const load = (body: unknown) => post("/v1/load_lora_adapter", body);
    return { library, app, post, load };
  }

  test("load from below the folder, by a whole path or from there on; unload until the files change", async () => {
    const { library, post, load, app } = await server();
    await writeAdapter("deep/a");
    for (const [lora_name, lora_path] of [
      ["one", "deep/a"],
      ["two", join(folder, "deep/a")],
    ])
      expect((await load({ lora_name, lora_path })).status).toBe(200);
    const again = await load({ lora_name: "one", lora_path: "deep/a" });
    expect(await errorIn(again)).toMatchObject({ param: "lora_name" });
    expect((await load({ lora_name: "one", lora_path: "deep/a", load_inplace: true })).status).toBe(200);
    expect(await (await app.request("/v1/models/one")).json()).toMatchObject({
      root: "deep/a",
      parent: "tiny",
    });
    expect((await post("/v1/unload_lora_adapter", { lora_name: "one" })).status).toBe(200);
    expect((await post("/v1/unload_lora_adapter", { lora_name: "one" })).status).toBe(404);
    await writeAdapter("b");
    await library.scan();
    await library.scan();
    expect(names()).toEqual(["b", "two"]);
    await post("/v1/unload_lora_adapter", { lora_name: "b" });
    await library.scan();
    expect(names()).toEqual(["two"]);
  });

  test("nothing else on the disk is reached, nor told of, nor the network", async () => {
    const { load } = await server();
    const outside = await mkdtemp(join(tmpdir(), "lowrank-outside-"));
    await writeFile(join(outside, "adapter_config.json"), "{}");
    await symlink(outside, join(folder, "out"));
    await writeAdapter("a");
    const paths = [
      outside,
      "out",
      "../x",
      `../${folder.split("/").at(-1)}/a`,
      "a/../../x",
      "%2e%2e/x",
      "/etc",
      "~",
    ];
    const more = [
      "org/name",
      "https://example.com/a",
      "http://169.254.169.254/",
      "a\u0000",
      "C:\\x",
      ".",
      "",
      "a/",
    ];
    for (const lora_path of [...paths, ...more]) {
      const response = await load({ lora_name: "x", lora_path });
      expect([400, 404], lora_path).toContain(response.status);
      expect((await errorIn(response)).message, lora_path).not.toContain(outside);
    }
    for (const lora_name of ["tiny", "../a", "a\nb", "", "-x", "x".repeat(200)])
      expect((await load({ lora_name, lora_path: "a" })).status, lora_name).toBe(400);
    expect(names()).toEqual([]);
    await rm(outside, { recursive: true });
  });

  test("without folders nothing is read", async () => {
    const app = createApp(serverParts({ engine, baseName: "tiny" }));
    const body = JSON.stringify({ lora_name: "x", lora_path: folder });
    const headers = { "content-type": "application/json" };
    const response = await app.request("/v1/load_lora_adapter", { method: "POST", headers, body });
    expect(await errorIn(response)).toMatchObject({ message: expect.stringContaining("--adapters") });
  });

  test("a real adapter, found in a folder, answers", async () => {
    const cacheFolder = await mkdtemp(join(tmpdir(), "lowrank-cache-"));
    const access = { cacheFolder, offline: true, threads: 1 };
    const real = await openEngine({ model: modelPath("llama"), contextLength: 64, ...access });
    await cp(adapterPath("llama"), join(folder, "notes"), { recursive: true });
    const log = jsonLog(() => undefined);
    const library = await openLibrary({
      folders: [folder],
      engine: real,
      baseName: "tiny",
      log,
      everyMs: null,
    });
    const app = createApp(serverParts({ engine: real, baseName: "tiny", library }));
    const headers = { "content-type": "application/json" };
    const body = JSON.stringify({ ...HELLO, model: "notes", max_tokens: 4 });
    const response = await app.request("/v1/chat/completions", { method: "POST", headers, body });
    expect(response.status).toBe(200);
    await library.close();
    await real.close();
    await rm(cacheFolder, { recursive: true });
  });
});

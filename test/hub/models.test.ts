import { randomBytes } from "node:crypto";
import { lstat, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { FormatError, InputError, NetworkError, NotFoundError, UnsupportedError } from "../../src/errors.ts";
import { readAdapterText } from "../../src/formats/peft/text.ts";
import { type DatasetOptions, fetchDataset } from "../../src/hub/dataset.ts";
import { guessSplit } from "../../src/hub/dataset-files.ts";
import { cachedModel, fetchAdapter, fetchModel, type HubId, parseHubId } from "../../src/hub/models.ts";
import type { HubOptions } from "../../src/hub/repo.ts";
import type { Progress } from "../../src/io/progress.ts";
import { failure } from "../formats/fixtures.ts";
import { COMMIT, contentId, type FakeFile, type FakeHub, startHub } from "./server.ts";

let hub: FakeHub;
let cache: string;
let options: HubOptions;

beforeEach(async () => {
  hub = await startHub();
  cache = await mkdtemp(join(tmpdir(), "lowrank-hub-"));
  options = { hubUrl: hub.url, hubCacheDir: cache, retryMs: 5 };
  vi.stubEnv("HF_HUB_OFFLINE", "");
  vi.stubEnv("HF_TOKEN", "");
  hub.repos.set("model:org/tiny", model);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await hub.close();
  await rm(cache, { recursive: true, force: true });
});

const text = (content: string): FakeFile => ({ content: Buffer.from(content) });
const weights: FakeFile = { content: randomBytes(300_000), lfs: true };
const model: Record<string, FakeFile> = {
  "config.json": text("{}"),
  "tokenizer.json": text('{"a": "é"}'),
  "chat_template.jinja": text("x"),
  "README.md": text("not needed"),
  "pytorch_model.bin": { content: randomBytes(10), lfs: true },
  "model.safetensors": weights,
  "onnx/model.safetensors": weights,
};
const id: HubId = { name: "org/tiny", revision: null, file: null };
const storage = (): string => join(cache, "models--org--tiny");

describe("parseHubId", () => {
  it.each([
    ["org/name", { name: "org/name", revision: null, file: null }],
    ["org/name@refs/pr/1", { name: "org/name", revision: "refs/pr/1", file: null }],
    ["org/name/q/m.Q4_1.gguf@v1", { name: "org/name", revision: "v1", file: "q/m.Q4_1.gguf" }],
    ["smollm2-135m", null],
    ["../name", null],
    ["org/name/../x.gguf", null],
    ["org/name@../x", null],
    ["a/b/c", null],
  ])("%s", (text, parsed) => {
    expect(parseHubId(text)).toEqual(parsed);
  });
});

describe("fetchModel", () => {
  it("fetches only what is needed, in Hugging Face's cache layout", async () => {
    const folder = await fetchModel(id, options);
    expect(folder).toBe(join(storage(), "snapshots", COMMIT));
    expect((await readdir(folder)).sort()).toEqual([
      ...["chat_template.jinja", "config.json", "model.safetensors", "tokenizer.json"],
    ]);
    expect(weights.content.equals(await readFile(join(folder, "model.safetensors")))).toBe(true);
    expect((await lstat(join(folder, "model.safetensors"))).isSymbolicLink()).toBe(true);
    expect(await readdir(join(storage(), "blobs"))).toContain(contentId(weights));
    expect(await readFile(join(storage(), "refs", "main"), "utf8")).toBe(COMMIT);
  });

  it("needs no network the second time", async () => {
    const first = await fetchModel(id, options);
    hub.requests.length = 0;
    expect(await fetchModel(id, options)).toBe(first);
    expect(await fetchModel(id, { ...options, offline: true })).toBe(first);
    expect(hub.requests).toEqual([]);
  });

  it("finds what Python fetched, and completes what it fetched in part", async () => {
    const folder = join(storage(), "snapshots", COMMIT);
    await mkdir(join(storage(), "blobs"), { recursive: true });
    await mkdir(join(storage(), "refs"));
    await mkdir(folder, { recursive: true });
    await writeFile(join(storage(), "refs", "main"), COMMIT);
    for (const name of ["config.json", "tokenizer.json"]) {
      const file = model[name] as FakeFile;
      await writeFile(join(storage(), "blobs", contentId(file)), file.content);
      await symlink(join("..", "..", "blobs", contentId(file)), join(folder, name));
    }
    const offline = await failure(fetchModel(id, { ...options, offline: true }));
    expect(offline.message).toMatch(
      /^offline: would fetch \*\.safetensors from .*org\/tiny \(revision main\)/,
    );
    await fetchModel(id, options);
    expect(hub.downloads.sort()).toEqual(["chat_template.jinja", "model.safetensors"]);
  });

  it("resumes after a broken connection where it broke", async () => {
    hub.breakAfter = { bytes: 100_000, times: 2 };
    const seen: Progress[] = [];
    const folder = await fetchModel(id, { ...options, onProgress: (p) => seen.push(p) });
    expect(weights.content.equals(await readFile(join(folder, "model.safetensors")))).toBe(true);
    expect(hub.downloads.filter((d) => d.startsWith("model.safetensors"))).toEqual([
      "model.safetensors",
      "model.safetensors bytes=100000-",
      "model.safetensors bytes=200000-",
    ]);
    expect(seen.at(-1)).toEqual({
      what: "org/tiny: model.safetensors",
      doneBytes: 300_000,
      totalBytes: 300_000,
    });
    expect((await readdir(join(storage(), "blobs"))).some((name) => name.includes("partial"))).toBe(false);
  });

  it("starts again where the server knows no ranges", async () => {
    hub.breakAfter = { bytes: 100_000, times: 1 };
    hub.ignoreRanges = true;
    const folder = await fetchModel(id, options);
    expect(weights.content.equals(await readFile(join(folder, "model.safetensors")))).toBe(true);
  });

  it("keeps what arrived for the next call when the connection stays bad", async () => {
    hub.breakAfter = { bytes: 1000, times: 4 };
    const error = await failure(fetchModel(id, options));
    expect(error).toBeInstanceOf(NetworkError);
    expect(error.message).toMatch(/what arrived is kept, run again to continue/);
    expect(await readdir(join(storage(), "blobs"))).toContain(`${contentId(weights)}.partial`);
    expect(await cachedModel(id, options)).toBeNull();
    hub.downloads.length = 0;
    await fetchModel(id, options);
    expect(hub.downloads).toEqual(["model.safetensors bytes=4000-"]);
  });

  it("refuses content with another hash, and keeps nothing of it", async () => {
    hub.corrupt = true;
    const error = await failure(fetchModel(id, options));
    expect(error).toBeInstanceOf(FormatError);
    expect(error.message).toMatch(/config.json: expected sha1 [0-9a-f]{40}, got/);
    hub.corrupt = false;
    await fetchModel(id, options);
    await rm(join(storage(), "blobs", contentId(weights)));
    hub.corrupt = true;
    expect((await failure(fetchModel(id, options))).message).toMatch(/safetensors: expected sha256/);
    expect((await readdir(join(storage(), "blobs"))).some((name) => name.includes("partial"))).toBe(false);
  });

  it("does not let two fetches at once corrupt a file", async () => {
    const folders = await Promise.all([1, 2, 3].map(() => fetchModel(id, options)));
    expect(weights.content.equals(await readFile(join(folders[0] as string, "model.safetensors")))).toBe(
      true,
    );
    expect((await readdir(join(storage(), "blobs"))).some((name) => name.includes("partial"))).toBe(false);
  });

  it("continues what a process that is gone left behind, not what a running one writes", async () => {
    await mkdir(join(storage(), "blobs"), { recursive: true });
    const { hostname } = await import("node:os");
    const host = hostname().replace(/[^\w-]/g, "_");
    const blob = join(storage(), "blobs", contentId(weights));
    await writeFile(`${blob}.partial.${host}.${2 ** 22 + 1}.ab`, weights.content.subarray(0, 5000));
    await writeFile(`${blob}.partial.${host}.${process.ppid}.cd`, weights.content.subarray(0, 9000));
    await fetchModel(id, options);
    expect(hub.downloads).toContain("model.safetensors bytes=5000-");
    expect((await readdir(join(storage(), "blobs"))).filter((name) => name.includes("partial"))).toEqual([
      `${contentId(weights)}.partial.${host}.${process.ppid}.cd`,
    ]);
  });

  it("fetches the shards that the index names", async () => {
    const index = {
      weight_map: { a: "model-1.safetensors", b: "model-2.safetensors", c: "model-1.safetensors" },
    };
    hub.repos.set("model:org/tiny", {
      ...model,
      "model.safetensors.index.json": text(JSON.stringify(index)),
      "model-1.safetensors": { content: Buffer.from("1"), lfs: true },
      "model-2.safetensors": { content: Buffer.from("2"), lfs: true },
    });
    const folder = await fetchModel(id, options);
    expect(await readdir(folder)).toEqual(
      expect.arrayContaining(["model-1.safetensors", "model-2.safetensors"]),
    );
    expect(await readdir(folder)).not.toContain("model.safetensors");
    await rm(join(folder, "model-2.safetensors"));
    expect(await cachedModel(id, options)).toBeNull();
  });

  it("fetches a GGUF file when it is named, and says which there are when not", async () => {
    hub.repos.set("model:org/quant", { "q/m.gguf": { content: Buffer.from("GGUF"), lfs: true } });
    const path = await fetchModel({ name: "org/quant", revision: null, file: "q/m.gguf" }, options);
    expect(await readFile(path, "utf8")).toBe("GGUF");
    const error = await failure(fetchModel({ name: "org/quant", revision: null, file: null }, options));
    expect(error).toBeInstanceOf(UnsupportedError);
    expect(error.message).toMatch(/it has GGUF files, name one of them: org\/quant\/q\/m\.gguf/);
  });

  it("does not write outside the cache, whatever the server lists", async () => {
    hub.repos.set("model:org/tiny", { ...model, "../../../evil.safetensors": text("x") });
    await fetchModel(id, options);
    expect(await readdir(cache)).toEqual(["models--org--tiny"]);
  });

  it("sends the token to the Hub, from the option or HF_TOKEN", async () => {
    hub.token = "hf_secret";
    const error = (await failure(fetchModel(id, options))) as Error & { code: string };
    expect(error.code).toBe("access");
    expect(error.message).toMatch(/does not exist on .*, or is private.*set HF_TOKEN/);
    vi.stubEnv("HF_TOKEN", "hf_wrong");
    expect((await failure(fetchModel(id, options))).message).toMatch(/the token in use has no access/);
    expect(await fetchModel(id, { ...options, token: "hf_secret" })).toContain(COMMIT);
  });

  it("says how to get at a gated model", async () => {
    hub.deny = { status: 403, code: "GatedRepo" };
    const error = await failure(fetchModel(id, options));
    expect(error.message).toBe(
      `org/tiny is gated: accept its licence at ${hub.url}/org/tiny, then set HF_TOKEN to a token of that account`,
    );
  });

  it("tells missing repositories, revisions and files apart", async () => {
    expect(await failure(fetchModel({ ...id, name: "org/none" }, options))).toBeInstanceOf(NotFoundError);
    hub.deny = { status: 404, code: "RevisionNotFound" };
    expect((await failure(fetchModel(id, options))).message).toMatch(/no such revision/);
    hub.deny = null;
    expect((await failure(fetchModel({ ...id, file: "x.gguf" }, options))).message).toMatch(
      /has no file x.gguf/,
    );
  });

  it("reports an overloaded Hub as a network error", async () => {
    hub.deny = { status: 503 };
    const error = await failure(fetchModel(id, options));
    expect(error).toBeInstanceOf(NetworkError);
    expect(error.message).toMatch(/answered 503 for org\/tiny; try again later/);
  });

  it("fails quickly without network, and says the way out", async () => {
    const refused = await failure(fetchModel(id, { ...options, hubUrl: "http://127.0.0.1:9" }));
    expect(refused).toBeInstanceOf(NetworkError);
    expect(refused.message).toMatch(
      /cannot reach 127.0.0.1:9 .*give the path of a local folder or .gguf file$/,
    );
    hub.silent = true;
    const startMs = performance.now();
    const silent = await failure(fetchModel(id, { ...options, answerTimeoutMs: 200 }));
    expect(silent.message).toMatch(/no answer within 0.2 s/);
    expect(performance.now() - startMs).toBeLessThan(3000);
  });

  it("does not take another server for the Hub", async () => {
    const other = createServer((_, response) => response.end("<html>please log in</html>"));
    await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
    const hubUrl = `http://127.0.0.1:${(other.address() as AddressInfo).port}`;
    const error = await failure(fetchModel(id, { ...options, hubUrl }));
    other.close();
    expect(error).toBeInstanceOf(NetworkError);
    expect(error.message).toMatch(/does not answer like the Hub/);
    expect(await failure(fetchModel(id, { ...options, hubUrl: "nonsense" }))).toBeInstanceOf(InputError);
  });

  it("gives up on an answer that stalls", async () => {
    hub.stall = true;
    const error = await failure(fetchModel(id, { ...options, stallTimeoutMs: 100 }));
    expect(error.message).toMatch(/no data for 0.1 s/);
  });

  it("fetches an adapter", async () => {
    hub.repos.set("model:org/tiny", {
      "adapter_config.json": text("{}"),
      "adapter_model.safetensors": weights,
      "README.md": text("x"),
    });
    const adapter = { ...options, revision: "v1" };
    expect(await failure(fetchAdapter(id, { ...adapter, offline: true }))).toBeInstanceOf(NetworkError);
    const folder = await fetchAdapter(id, adapter);
    expect((await readdir(folder)).sort()).toEqual(["adapter_config.json", "adapter_model.safetensors"]);
    expect(await fetchAdapter(id, { ...adapter, offline: true })).toBe(folder);
  });

  it("fetches what an adapter says of its text, which is used instead of the model's", async () => {
    const files = {
      "adapter_config.json": text("{}"),
      "adapter_model.safetensors": weights,
      "chat_template.jinja": text("{{ messages }}"),
      "chat_template_args.json": text('{"enable_thinking": false}'),
    };
    hub.repos.set("model:org/tiny", { ...files, "training_args.bin": weights });
    const folder = await fetchAdapter(id, options);
    expect((await readdir(folder)).sort()).toEqual(Object.keys(files).sort());
    expect(await readAdapterText(folder)).toEqual({
      tokenizer: null,
      chatTemplate: "{{ messages }}",
      templateArgs: { enable_thinking: false },
    });
  });

  it("fetches adapters of mlx-lm, combinations and .gguf files", async () => {
    const mlx = {
      "adapter_config.json": text('{"lora_parameters": {"scale": 2}}'),
      "adapters.safetensors": weights,
    };
    hub.repos.set("model:org/tiny", { ...mlx, "0000100_adapters.safetensors": weights });
    const folder = await fetchAdapter(id, options);
    expect((await readdir(folder)).sort()).toEqual(Object.keys(mlx).sort());
    expect(await fetchAdapter(id, { ...options, offline: true })).toBe(folder);

    const part = { "lora/adapter_config.json": text("{}"), "lora/adapter_model.safetensors": weights };
    const whole = { "adapter_config.json": text('{"lowrank_methods": ["lora"]}'), ...part };
    hub.repos.set("model:org/both", { ...whole, "other/adapter_config.json": text("{}") });
    const both: HubId = { ...id, name: "org/both" };
    const combination = await fetchAdapter(both, options);
    expect((await readdir(combination, { recursive: true })).sort()).toEqual(
      [...Object.keys(whole), "lora"].sort(),
    );
    await rm(join(combination, "lora/adapter_model.safetensors"));
    const error = await failure(fetchAdapter(both, { ...options, offline: true }));
    expect(error.message).toContain("would fetch lora/adapter_model.safetensors from");

    hub.repos.set("model:org/files", { "a/x.gguf": text("GGUF") });
    const file: HubId = { name: "org/files", revision: null, file: "a/x.gguf" };
    expect(await readFile(await fetchAdapter(file, options), "utf8")).toBe("GGUF");
  });

  it("says what a repository that is no adapter lacks", async () => {
    expect((await failure(fetchAdapter(id, options))).message).toBe(
      "org/tiny has no file adapter_config.json",
    );
    hub.repos.set("model:org/tiny", { "adapter_config.json": text("{}") });
    expect((await failure(fetchAdapter(id, options))).message).toBe(
      "org/tiny has no file adapter_model.safetensors",
    );
  });

  it("is offline by HF_HUB_OFFLINE", async () => {
    vi.stubEnv("HF_HUB_OFFLINE", "1");
    const error = await failure(fetchModel(id, { hubUrl: hub.url, hubCacheDir: cache }));
    expect(error.message).toMatch(
      /^offline: would fetch config.json, the tokenizer's files and \*\.safetensors/,
    );
    expect(hub.requests).toEqual([]);
  });

  it("stops when aborted, keeping what arrived", async () => {
    const stop = new AbortController();
    const onProgress = (p: Progress): void => {
      if (p.what.endsWith("safetensors") && p.doneBytes > 0) stop.abort(new Error("stopped"));
    };
    const error = await failure(fetchModel(id, { ...options, onProgress, signal: stop.signal }));
    expect(error.message).toBe("stopped");
    expect(await cachedModel(id, options)).toBeNull();
    await fetchModel(id, options);
  });
});

describe("fetchDataset", () => {
  const rows = text('{"a": 1}\n');
  const fetchIds = (change: DatasetOptions = {}): Promise<string[]> =>
    fetchDataset("org/data", { ...options, ...change }).then((d) =>
      d.files.map((f) => `${f.split} ${f.path}`),
    );

  it("guesses splits from names and takes the most common format", async () => {
    hub.repos.set("dataset:org/data", {
      "data/train-00000-of-00002.parquet": rows,
      "data/train-00001-of-00002.parquet": rows,
      "data/test-00000-of-00001.parquet": rows,
      "extra.csv": rows,
      "dataset_infos.json": text("{}"),
    });
    const { folder, files } = await fetchDataset("org/data", options);
    expect(folder).toBe(join(cache, "datasets--org--data", "snapshots", COMMIT));
    expect(files).toEqual([
      { path: "data/test-00000-of-00001.parquet", split: "test", format: "parquet" },
      { path: "data/train-00000-of-00002.parquet", split: "train", format: "parquet" },
      { path: "data/train-00001-of-00002.parquet", split: "train", format: "parquet" },
    ]);
    expect(await readFile(join(folder, "data/test-00000-of-00001.parquet"), "utf8")).toBe('{"a": 1}\n');
    hub.downloads.length = 0;
    expect(await fetchIds({ splits: ["test"] })).toEqual(["test data/test-00000-of-00001.parquet"]);
    expect(hub.downloads).toEqual([]);
  });

  it("follows the data set's card", async () => {
    const card = `---
configs:
- config_name: main
  data_files:
  - split: train
    path: main/train-*
  - split: heldout
    path: ["main/other.jsonl"]
- config_name: extra
  data_files: "extra/**/*.jsonl"
---
# Data`;
    hub.repos.set("dataset:org/data", {
      "README.md": text(card),
      "main/train-1.jsonl": rows,
      "main/other.jsonl": rows,
      "extra/a/b/dev.jsonl": rows,
    });
    expect(await fetchIds({ subset: "main" })).toEqual([
      "train main/train-1.jsonl",
      "heldout main/other.jsonl",
    ]);
    expect(await fetchIds({ subset: "extra" })).toEqual(["validation extra/a/b/dev.jsonl"]);
    const error = (await failure(fetchIds())) as InputError;
    expect(error.message).toBe("org/data has the subsets: main, extra\n  subset: name one of them");
    expect((await failure(fetchIds({ subset: "main", splits: ["test"] }))).message).toMatch(
      /has the splits: train, heldout\n {2}split: "test" is not one of them/,
    );
  });

  it("works from the cache without network, and says when it cannot", async () => {
    hub.repos.set("dataset:org/data", { "train.jsonl": rows });
    expect(await failure(fetchIds({ offline: true }))).toBeInstanceOf(NetworkError);
    const online = await fetchIds();
    expect(await fetchIds({ offline: true })).toEqual(online);
    expect(await fetchIds({ hubUrl: "http://127.0.0.1:9" })).toEqual(online);
  });

  it("refuses too much data, and repositories without any", async () => {
    hub.repos.set("dataset:org/data", { "train.jsonl": rows });
    expect((await failure(fetchIds({ maxBytes: 5 }))).message).toMatch(
      /too large to fetch\n {2}1 files: 0.0 GB/,
    );
    hub.repos.set("dataset:org/data", { "load.py": rows });
    expect((await failure(fetchIds())).message).toMatch(
      /has no jsonl, json, csv or parquet file; it has: .py/,
    );
    expect(await failure(fetchDataset("../x", options))).toBeInstanceOf(InputError);
  });

  it.each([
    ["train.jsonl", "train"],
    ["data/my_test_set.csv", "test"],
    ["dev-00.parquet", "validation"],
    ["validation/part.json", "validation"],
    ["latest.json", "train"],
    ["test/train.json", "train"],
  ])("split of %s is %s", (path, split) => {
    expect(guessSplit(path)).toBe(split);
  });
});

import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { InputError, LowrankError, NetworkError, NotFoundError, UnsupportedError } from "../../src/errors.ts";
import { fetchAdapter, type HubId, parseHubId } from "../../src/hub/models.ts";
import { type PushOptions, pushFolder } from "../../src/hub/push.ts";
import type { Progress } from "../../src/io/progress.ts";
import { fixturePath } from "../peft/adapters.ts";
import { type FakeHub, startHub } from "./server.ts";

const TOKEN = "hf_secret";
/** PEFT's adapter of the tiny llama, as one for a model on the Hub. */
let adapter: string;
const ADAPTER_FILES = ["adapter_config.json", "adapter_model.safetensors"];

let hub: FakeHub;
let folder: string;
beforeEach(async () => {
  hub = await startHub();
  hub.token = TOKEN;
  folder = await mkdtemp(join(tmpdir(), "lowrank-push-"));
  adapter = join(folder, "mine");
  await cp(fixturePath("models/llama/adapter"), adapter, { recursive: true });
  const config = join(adapter, "adapter_config.json");
  const json = JSON.parse(await readFile(config, "utf8"));
  await writeFile(config, JSON.stringify({ ...json, base_model_name_or_path: "org/base" }));
  vi.stubEnv("HF_HUB_OFFLINE", "");
  vi.stubEnv("HF_TOKEN", TOKEN);
  vi.stubEnv("HF_ENDPOINT", hub.url);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await hub.close();
  await rm(folder, { recursive: true });
});

const push = (options: Partial<PushOptions> = {}) =>
  pushFolder({ folder: adapter, to: "me/mine", ...options });
const failureOf = async (work: Promise<unknown>): Promise<LowrankError> => {
  const error = await work.then(
    () => null,
    (e: unknown) => e,
  );
  if (error instanceof LowrankError) return error;
  throw new Error(`expected a LowrankError, got ${error}`);
};
const uploaded = (): string[] => Object.keys(hub.repos.get("model:me/mine") ?? {}).sort();

test("damaged weights: nothing is made on the Hub", async () => {
  const weights = join(adapter, "adapter_model.safetensors");
  await writeFile(weights, (await readFile(weights)).subarray(0, 5000));
  expect((await failureOf(push())).message).toMatch(/adapter_model\.safetensors: .*truncated/s);
  expect(hub.requests).toEqual([]);
});

describe("an upload", () => {
  test("makes the repository, and one commit of all files; what is fetched from there is the same", async () => {
    const progress: Progress[] = [];
    const result = await push({ onProgress: (p) => progress.push(p) });
    expect(result).toEqual({
      ...{
        url: `${hub.url}/me/mine`,
        commit: "d".repeat(40),
        isNew: true,
        files: ADAPTER_FILES,
        warnings: [],
      },
    });
    expect(hub.commits).toEqual([
      { repo: "me/mine", branch: "main", summary: "Upload mine with lowrank", paths: ADAPTER_FILES },
    ]);
    expect(hub.visibility.get("me/mine")).toBe("undefined");
    const size = (await readFile(join(adapter, "adapter_model.safetensors"))).length;
    expect(progress.at(-1)).toEqual({
      ...{ what: "uploading adapter_model.safetensors", doneBytes: size, totalBytes: size },
    });
    const back = await fetchAdapter(parseHubId("me/mine") as HubId, { hubCacheDir: join(folder, "cache") });
    for (const name of ADAPTER_FILES)
      expect(await readFile(join(back, name))).toEqual(await readFile(join(adapter, name)));
  });

  test("into a repository that is there, a branch, with a message", async () => {
    hub.repos.set("model:me/mine", {});
    const more = { revision: "v2", message: "better", private: true };
    const result = await push(more);
    expect(result).toMatchObject({ isNew: false, files: ADAPTER_FILES });
    expect(result.warnings).toEqual(["me/mine was there already: whether it is private was left as it is"]);
    expect(hub.commits[0]).toMatchObject({ branch: "v2", summary: "better" });
    expect([...hub.branches]).toEqual(["me/mine@v2"]);
    expect((await push(more)).isNew).toBe(false); // the branch is there now
    expect(hub.commits).toHaveLength(2);
  });

  test("a private one", async () => {
    await push({ private: true });
    expect(hub.visibility.get("me/mine")).toBe("private");
  });

  test("of a run folder its adapter alone, with its card; no logs, checkpoints or half-written files", async () => {
    await cp(adapter, join(folder, "adapter"), { recursive: true });
    await mkdir(join(folder, "adapter", "checkpoints"));
    for (const name of [
      "README.md",
      ".secret",
      "notes.txt",
      "optimizer.pt",
      "adapter_config.json.partial.h.1.a",
    ])
      await writeFile(join(folder, "adapter", name), "x");
    await writeFile(join(folder, "run.json"), "{}");
    await push({ folder });
    expect(uploaded()).toEqual(["README.md", ...ADAPTER_FILES]);
  });

  test("of a combination the folders of its parts", async () => {
    for (const part of ["lora", "prefix-layer"]) await cp(adapter, join(folder, part), { recursive: true });
    await cp(adapter, join(folder, "other"), { recursive: true });
    const config = { base_model_name_or_path: "org/base", lowrank_methods: ["lora", "prefix-layer"] };
    await writeFile(join(folder, "adapter_config.json"), JSON.stringify(config));
    expect((await push({ folder })).files).toEqual([
      "adapter_config.json",
      ...["lora", "prefix-layer"].flatMap((part) => ADAPTER_FILES.map((name) => `${part}/${name}`)),
    ]);
    const back = await fetchAdapter(parseHubId("me/mine") as HubId, { hubCacheDir: join(folder, "cache") });
    const weights = join("prefix-layer", "adapter_model.safetensors");
    expect(await readFile(join(back, weights))).toEqual(await readFile(join(folder, weights)));
  });

  test("of a model folder what belongs to the model", async () => {
    const { files } = await push({ folder: fixturePath("models/llama") });
    expect(files).toContain("model.safetensors");
    expect(files).toContain("tokenizer.json");
    expect(files).not.toContain("expected.safetensors.json");
    expect(files.every((name) => !name.includes("/"))).toBe(true);
  });

  test("warns of a base model that only this machine has", async () => {
    const path = join(adapter, "adapter_config.json");
    const config = JSON.parse(await readFile(path, "utf8"));
    await writeFile(path, JSON.stringify({ ...config, base_model_name_or_path: "/home/me/models/llama" }));
    expect((await push()).warnings).toEqual([
      "the adapter names its base model as /home/me/models/llama, which is no Hub id: others will not find it",
    ]);
  });
});

describe("refused", () => {
  afterEach(() => expect(hub.commits).toEqual([]));

  test.each(["mine", "me/mine/x", "me/mi ne", "../mine", "me/a--b", "", "https://huggingface.co/me/mine"])(
    "the name %j, before anything is read",
    async (to) => {
      const error = await failureOf(push({ to, folder: "nowhere" }));
      expect(error).toBeInstanceOf(InputError);
      expect(error.message).toContain(
        `to: expected user/name (letters, digits, "-", "_" and "."), got "${to}"`,
      );
    },
  );

  test("a branch in the name, and one that is none", async () => {
    expect((await failureOf(push({ to: "me/mine@v2" }))).message).toContain(
      "the branch is an option of its own",
    );
    expect((await failureOf(push({ revision: "a..b" }))).message).toContain(
      'the name of a branch, got "a..b"',
    );
  });

  test("what is no adapter and no model", async () => {
    expect(await failureOf(push({ folder: join(folder, "none") }))).toBeInstanceOf(NotFoundError);
    const empty = await failureOf(push({ folder }));
    expect(empty).toBeInstanceOf(UnsupportedError);
    expect(empty.message).toBe(
      `${folder} has neither adapter_config.json nor config.json with *.safetensors, expected the folder of an adapter, a run or a model`,
    );
    await writeFile(join(folder, "adapter_config.json"), "{}");
    expect((await failureOf(push({ folder }))).message).toContain("no weights (adapter_model.safetensors)");
    const file = join(adapter, "adapter_config.json");
    expect((await failureOf(push({ folder: file }))).message).toContain("is a file, expected the folder");
    expect(hub.requests).toEqual([]);
  });

  test("without a token, or with something else", async () => {
    vi.stubEnv("HF_TOKEN", "");
    const none = await failureOf(push());
    expect(none.code).toBe("access");
    expect(none.message).toBe(
      `uploading to me/mine needs a token in HF_TOKEN, and there is none: make one with write access at ${hub.url}/settings/tokens`,
    );
    vi.stubEnv("HF_TOKEN", "secret");
    const odd = await failureOf(push());
    expect(odd.message).toContain('what is there does not begin with "hf_"');
    expect(odd.message).not.toContain("secret");
    expect(hub.requests).toEqual([]);
  });

  test.each([401, 403])("a token that may not write (%i)", async (status) => {
    if (status === 401) vi.stubEnv("HF_TOKEN", "hf_other");
    else hub.deny = { status };
    const error = await failureOf(push());
    expect(error.code).toBe("access");
    expect(error.message).toBe(
      `the token in HF_TOKEN may not write to me/mine: it needs write access (${hub.url}/settings/tokens), and "me" must be ` +
        "its account or an organization of it",
    );
  });

  test("offline: nothing is asked", async () => {
    expect(await failureOf(push({ offline: true }))).toBeInstanceOf(NetworkError);
    vi.stubEnv("HF_HUB_OFFLINE", "1");
    expect((await failureOf(push())).message).toBe(`offline: would upload 2 files to ${hub.url}/me/mine`);
    expect(hub.requests).toEqual([]);
  });

  test("the network is down", async () => {
    await hub.close();
    const error = await failureOf(push());
    expect(error).toBeInstanceOf(NetworkError);
    expect(error.message).toMatch(/^cannot reach 127\.0\.0\.1:\d+ \(ECONNREFUSED\)$/);
  });

  test("a Hub that never answers", async () => {
    hub.silent = true;
    const error = await failureOf(push({ answerTimeoutMs: 50 }));
    expect(error.message).toMatch(/^cannot reach .* \(no answer within 0\.05 s\)$/);
  });

  test.each([
    ["announcing the files", /preupload/],
    ["their contents", /storage/],
    ["the commit", /\/commit\//],
  ])("a failure at %s: no commit", async (_what, failOn) => {
    hub.failOn = failOn;
    const error = await failureOf(push());
    expect(error).toBeInstanceOf(NetworkError);
    expect(error.message).toMatch(/the Hub answered 500 for me\/mine/);
    expect(uploaded()).toEqual([]);
    hub.failOn = null;
  });

  test("an abort", async () => {
    const controller = new AbortController();
    controller.abort(new Error("mine"));
    await expect(push({ signal: controller.signal })).rejects.toThrow("mine");
  });
});

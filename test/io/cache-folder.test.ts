import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { FormatError, NetworkError } from "../../src/errors.ts";
import { cacheFolder } from "../../src/io/cache-folder.ts";
import { type ByteSource, type DownloadOptions, downloadTo } from "../../src/io/download.ts";
import { failure } from "../formats/fixtures.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "lowrank-cache-"));
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true, force: true });
});

describe("cacheFolder", () => {
  it("is the option, then LOWRANK_CACHE, then the platform's", () => {
    vi.stubEnv("LOWRANK_CACHE", folder);
    expect(cacheFolder("/somewhere")).toMatch(/somewhere$/);
    expect(cacheFolder()).toBe(folder);
    vi.stubEnv("LOWRANK_CACHE", "");
    expect(cacheFolder()).toMatch(/lowrank$/);
  });

  it.runIf(process.platform === "linux")("follows XDG_CACHE_HOME", () => {
    vi.stubEnv("LOWRANK_CACHE", "");
    vi.stubEnv("XDG_CACHE_HOME", "");
    expect(cacheFolder()).toBe(join(homedir(), ".cache", "lowrank"));
    vi.stubEnv("XDG_CACHE_HOME", folder);
    expect(cacheFolder()).toBe(join(folder, "lowrank"));
  });
});

describe("downloadTo", () => {
  const content = randomBytes(10_000);
  const options: DownloadOptions = {
    what: "file",
    sizeBytes: content.length,
    sha256: createHash("sha256").update(content).digest("hex"),
  };
  const opened: number[] = [];
  /** Gives the content from where it is asked, and breaks off at `end`. */
  const source =
    (end: number, { ranges = true, bytes = content } = {}) =>
    async (fromByte: number): Promise<ByteSource> => {
      opened.push(fromByte);
      const from = ranges ? fromByte : 0;
      async function* chunks(): AsyncGenerator<Uint8Array> {
        for (let at = from; at < end; at += 999) yield bytes.subarray(at, Math.min(at + 999, end));
        if (end < content.length) throw new NetworkError("broke");
      }
      return { fromByte: from, chunks: chunks() };
    };
  const target = (): string => join(folder, "sub", "file.bin");
  beforeEach(() => {
    opened.length = 0;
  });

  it("continues where the last attempt broke off", async () => {
    expect((await failure(downloadTo(target(), source(4000), options))).message).toBe("broke");
    expect(await readdir(join(folder, "sub"))).toEqual(["file.bin.partial"]);
    await downloadTo(target(), source(content.length), options);
    expect(opened).toEqual([0, 4000]);
    expect(content.equals(await readFile(target()))).toBe(true);
    expect(await readdir(join(folder, "sub"))).toEqual(["file.bin"]);
  });

  it("starts again where the source cannot skip", async () => {
    await failure(downloadTo(target(), source(4000), options));
    await downloadTo(target(), source(content.length, { ranges: false }), options);
    expect(content.equals(await readFile(target()))).toBe(true);
  });

  it("reports a source that ends early, and one that goes on", async () => {
    const short = async (): Promise<ByteSource> => ({
      fromByte: 0,
      chunks: (async function* () {
        yield content.subarray(0, 10);
      })(),
    });
    expect((await failure(downloadTo(target(), short, options))).message).toBe(
      "file: the connection ended after 10 of 10000 bytes",
    );
    const error = await failure(
      downloadTo(target(), source(content.length), { ...options, sizeBytes: 5000 }),
    );
    expect(error).toBeInstanceOf(FormatError);
    expect(error.message).toMatch(/more than the expected 5000 bytes/);
    expect(await readdir(join(folder, "sub"))).toEqual([]);
  });

  it("discards content with another hash", async () => {
    const other = Buffer.from(content);
    other[9999] = (other[9999] as number) ^ 1;
    const error = await failure(downloadTo(target(), source(content.length, { bytes: other }), options));
    expect(error).toBeInstanceOf(FormatError);
    expect(error.message).toMatch(/^file: expected sha256 [0-9a-f]{64}, got [0-9a-f]{64}; discarded$/);
    expect(await readdir(join(folder, "sub"))).toEqual([]);
  });

  it("does not ask for more when all had arrived before the process ended", async () => {
    await writeFile(join(folder, "file.bin.partial"), content);
    await downloadTo(join(folder, "file.bin"), source(content.length), options);
    expect(opened).toEqual([]);
    expect(await readdir(folder)).toEqual(["file.bin"]);
  });

  it("tells progress from where it starts to the end", async () => {
    await failure(downloadTo(target(), source(4000), options));
    const done: number[] = [];
    const onProgress: DownloadOptions["onProgress"] = (p) => done.push(p.doneBytes);
    await downloadTo(target(), source(content.length), { ...options, onProgress });
    expect([done[0], done.at(-1)]).toEqual([4000, 10_000]);
  });

  it("writes an empty file", async () => {
    await downloadTo(target(), source(0), { what: "empty", sizeBytes: 0 });
    expect((await readFile(target())).length).toBe(0);
  });

  it("lets many at once end in one whole file", async () => {
    await Promise.all(Array.from({ length: 8 }, () => downloadTo(target(), source(content.length), options)));
    expect(content.equals(await readFile(target()))).toBe(true);
    expect(await readdir(join(folder, "sub"))).toEqual(["file.bin"]);
  });
});

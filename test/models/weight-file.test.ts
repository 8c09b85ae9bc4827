import { spawnSync } from "node:child_process";
import type { FileHandle } from "node:fs/promises";
import { readdir, readFile, truncate, utimes, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { FormatError, InputError, LowrankError } from "../../src/errors.ts";
import type { ModelSource } from "../../src/formats/model.ts";
import { openModel } from "../../src/formats/open-model.ts";
import { sumsBytes } from "../../src/io/chunk-sums.ts";
import { openBase } from "../../src/models/base-model.ts";
import { familyOf } from "../../src/models/families.ts";
import { moduleWeights, type WeightSpec } from "../../src/models/family.ts";
import { openWeightFile } from "../../src/models/weight-file.ts";
import { sizeOf } from "../../src/tensor/tensor.ts";
import { distFile, runNode } from "../cli/run-cli.ts";
import { copyOf, editJson, editWeights, FIXTURES, messageOf, temporaryFolder } from "../formats/fixtures.ts";

/** The disk of this file's tests: bytes it still takes, and at most how many in one call. */
const disk = vi.hoisted(() => ({ freeBytes: Infinity, callBytes: Infinity }));

vi.mock("node:fs/promises", async (importOriginal) => {
  const real = await importOriginal<typeof import("node:fs/promises")>();
  const limited = async (...args: Parameters<typeof real.open>): Promise<FileHandle> => {
    const file = await real.open(...args);
    const write = file.write.bind(file) as (...args: unknown[]) => Promise<{ bytesWritten: number }>;
    const short = async (bytes: Uint8Array, offset: number, length: number, at: number | null) => {
      if (disk.freeBytes <= 0) throw Object.assign(new Error("full"), { code: "ENOSPC", syscall: "write" });
      const written = await write(bytes, offset, Math.min(length, disk.callBytes, disk.freeBytes), at);
      disk.freeBytes -= written.bytesWritten;
      return written;
    };
    return Object.assign(file, { write: short });
  };
  return { ...real, open: limited };
});

let cache: string;
beforeEach(async () => {
  cache = await temporaryFolder();
});
afterEach(() => {
  Object.assign(disk, { freeBytes: Infinity, callBytes: Infinity });
});

interface Opened {
  readonly source: ModelSource;
  readonly specs: readonly WeightSpec[];
}

async function opened(path: string): Promise<Opened> {
  const source = await openModel(path);
  onTestFinished(() => source.close());
  return { source, specs: familyOf(source.config.family).modules(source.config).flatMap(moduleWeights) };
}

const llama = (): Promise<Opened> => opened(join(FIXTURES, "llama.gguf"));

/** The one folder of converted weights, and the files in it. */
async function converted(): Promise<{ readonly folder: string; readonly files: readonly string[] }> {
  const [name, ...others] = await readdir(join(cache, "weights"));
  expect(others).toEqual([]);
  const folder = join(cache, "weights", name as string);
  return { folder, files: await readdir(folder) };
}

/** Id of a process that has ended. */
function deadPid(): number {
  return spawnSync(process.execPath, ["-e", ""]).pid;
}

test("holds every weight at a page border, and is converted once", async () => {
  const { source, specs } = await llama();
  const reports: number[] = [];
  const onProgress = (p: { readonly doneBytes: number }): unknown => reports.push(p.doneBytes);
  const file = await openWeightFile(source, specs, cache, { onProgress });
  const bytes = await readFile(join(file.folder, "weights.bin"));
  expect(bytes.length).toBe(file.sizeBytes + sumsBytes(file.sizeBytes));
  for (const { path, read } of source.weights) {
    const { data, shape } = await read();
    const { fileName, offsetBytes, sizeBytes } = file.locate(path);
    expect([fileName, offsetBytes % 4096, sizeBytes]).toEqual(["weights.bin", 0, data.byteLength]);
    expect(bytes.subarray(offsetBytes, offsetBytes + sizeBytes).equals(new Uint8Array(data.buffer))).toBe(
      true,
    );
    expect(await file.read(path)).toEqual({ dtype: "float32", shape, data });
  }
  expect(reports).toHaveLength(specs.length);
  expect(reports.at(-1)).toBe(specs.reduce((n, { shape }) => n + 4 * sizeOf(shape), 0));
  expect(() => file.locate("none")).toThrow(FormatError);
  await expect(file.read("none")).rejects.toThrow(/no weight none/);
  await openWeightFile(source, specs, cache, { onProgress });
  expect(reports).toHaveLength(specs.length);
});

describe("weights that do not fit the configuration are refused before anything is converted", () => {
  const refusal = async (path: string): Promise<string[]> => {
    await expect(openBase(path, { cacheFolder: cache })).rejects.toThrow(InputError);
    expect(await readdir(cache)).toEqual([]);
    return (await messageOf(openBase(path, { cacheFolder: cache }))).split("\n").slice(1).sort();
  };

  test("missing and misshapen ones come in one error, as the checkpoint calls them", async () => {
    const folder = await copyOf("gpt2");
    await editWeights(folder, (tensors) =>
      tensors.flatMap((tensor) => {
        if (tensor.name === "transformer.h.1.ln_1.bias") return [];
        if (tensor.name === "transformer.h.0.attn.c_attn.weight") return [{ ...tensor, shape: [48, 16] }];
        return [tensor];
      }),
    );
    expect(await refusal(folder)).toEqual([
      "  transformer.h.0.attn.c_attn.weight: has shape [16,48], expected [48,16]",
      "  transformer.h.1.ln_1.bias: is missing, expected shape [16]",
    ]);
  });

  test("layers beyond the configuration's are not left out silently", async () => {
    const folder = await copyOf("gpt2");
    await editJson(join(folder, "config.json"), (json) => ({ ...json, n_layer: 1 }));
    expect(await refusal(folder)).toContain(
      "  transformer.h.1.ln_1.weight: is not a weight of this configuration",
    );
  });

  test("an untied model must have a head", async () => {
    const folder = await copyOf("gpt2");
    await editJson(join(folder, "config.json"), (json) => ({ ...json, tie_word_embeddings: false }));
    expect(await refusal(folder)).toEqual(["  lm_head.weight: is missing, expected shape [300,16]"]);
  });

  test("a GGUF file's tensors have its names", async () => {
    const { source, specs } = await llama();
    const weights = source.weights.filter(({ path }) => path !== "layers.1.mlp.up.weight");
    const { message } = (await openWeightFile({ ...source, weights }, specs, cache).catch(
      (e) => e,
    )) as InputError;
    expect(message).toMatch(
      /llama.gguf: the weights do not fit the configuration:\n {2}blk.1.ffn_up.weight: /,
    );
  });
});

describe("what stops a conversion leaves nothing behind", () => {
  test("NaN, named with its tensor and place", async () => {
    const folder = await copyOf("gpt2");
    await editWeights(folder, (tensors) =>
      tensors.map((tensor) =>
        tensor.name === "transformer.wpe.weight"
          ? { ...tensor, data: (tensor.data as Float32Array).with(17, Number.NaN) }
          : tensor,
      ),
    );
    await expect(openBase(folder, { cacheFolder: cache })).rejects.toThrow(
      /model.safetensors: tensor "transformer.wpe.weight" has NaN at \[1,1\], expected finite weights/,
    );
    expect(await readdir(join(cache, "weights"))).toEqual([]);
  });

  test("a full disk", async () => {
    const { source, specs } = await llama();
    disk.freeBytes = 40_000;
    const error = (await openWeightFile(source, specs, cache).catch((e) => e)) as LowrankError;
    expect(error).toBeInstanceOf(LowrankError);
    expect(error.code).toBe("storage");
    expect(error.message).toMatch(/^cannot write .*weights.bin: no space left on the disk$/);
    expect(await readdir(join(cache, "weights"))).toEqual([]);
    disk.freeBytes = Infinity;
    await openWeightFile(source, specs, cache);
    expect((await converted()).files).toEqual(["weights.bin"]);
  });

  test("the caller's signal, before the next weight", async () => {
    const controller = new AbortController();
    let reports = 0;
    const onProgress = (): void => {
      reports++;
      controller.abort(new Error("enough"));
    };
    const options = { cacheFolder: cache, signal: controller.signal, onProgress };
    await expect(openBase(join(FIXTURES, "llama.gguf"), options)).rejects.toThrow("enough");
    expect(reports).toBe(1);
    expect(await readdir(join(cache, "weights"))).toEqual([]);
  });
});

test("a disk that takes a part of each write gets all of it", async () => {
  const { source, specs } = await llama();
  const whole = await openWeightFile(source, specs, join(cache, "whole"));
  disk.callBytes = 1000;
  const parts = await openWeightFile(source, specs, join(cache, "parts"));
  expect(await readFile(join(parts.folder, "weights.bin"))).toEqual(
    await readFile(join(whole.folder, "weights.bin")),
  );
});

test("a file that was cut off is made anew; one cut off while in use is an error", async () => {
  const { source, specs } = await llama();
  const file = await openWeightFile(source, specs, cache);
  const path = join(file.folder, "weights.bin");
  const bytes = await readFile(path);
  const last = specs.at(-1)?.path as string;
  await truncate(path, bytes.length - 4096 * 5);
  await expect(file.read(last)).rejects.toThrow(/weights.bin: ends at byte/);
  await openWeightFile(source, specs, cache);
  expect(await readFile(path)).toEqual(bytes);
  expect((await file.read(last)).data).toHaveLength(300 * 16);
});

test("a conversion with a flipped bit is found, said and made anew, wherever the bit is", async () => {
  const { source, specs } = await llama();
  const path = join((await openWeightFile(source, specs, cache)).folder, "weights.bin");
  const bytes = await readFile(path);
  for (const at of [0, bytes.length >> 1, bytes.length - 6, bytes.length - 1]) {
    const damaged = Buffer.from(bytes);
    damaged[at] = (damaged[at] as number) ^ 4;
    await writeFile(path, damaged);
    const { warnings } = await openWeightFile(source, specs, cache);
    expect(warnings).toEqual([expect.stringMatching(/weights\.bin was damaged, and was converted anew$/)]);
    expect(await readFile(path)).toEqual(bytes);
    expect((await openWeightFile(source, specs, cache)).warnings).toEqual([]);
  }
});

test("models that differ in content alone have conversions of their own", async () => {
  const first = await copyOf("llama");
  const second = await copyOf("llama");
  const shard = "model-00001-of-00003.safetensors";
  const bytes = await readFile(join(second, shard));
  bytes[bytes.length - 1] = (bytes.at(-1) as number) ^ 0x80; // a sign
  await writeFile(join(second, shard), bytes);
  for (const folder of [first, second])
    for (const name of await readdir(folder)) await utimes(join(folder, name), 1, 1);
  const folders: string[] = [];
  for (const folder of [first, second, first]) {
    const { source, specs } = await opened(folder);
    folders.push((await openWeightFile(source, specs, cache)).folder);
  }
  expect(folders[1]).not.toBe(folders[0]);
  expect(folders[2]).toBe(folders[0]);
});

test("what a killed conversion left is removed, what a running one writes is not", async () => {
  const { source, specs } = await llama();
  const file = await openWeightFile(source, specs, cache);
  const host = hostname().replace(/[^\w-]/g, "_");
  const partial = (owner: string): string => `weights.bin.partial.${owner}.0123abcd`;
  const [dead, running, elsewhere] = [
    partial(`${host}.${deadPid()}`),
    partial(`${host}.${process.ppid}`),
    partial(`another-${host}.1`),
  ] as const;
  for (const name of [dead, running, elsewhere, "graph.bin"]) await writeFile(join(file.folder, name), "");
  await truncate(join(file.folder, "weights.bin"), 0);
  await openWeightFile(source, specs, cache);
  expect(new Set((await converted()).files)).toEqual(
    new Set(["graph.bin", "weights.bin", elsewhere, running]),
  );
});

describe("several at once end in one whole file that all can use", () => {
  test("in one process", async () => {
    const { source, specs } = await llama();
    const files = await Promise.all(Array.from({ length: 6 }, () => openWeightFile(source, specs, cache)));
    expect((await converted()).files).toEqual(["weights.bin"]);
    for (const file of files) expect((await file.read("final_norm.weight")).data).toHaveLength(16);
  });

  test("in processes of their own, one of them killed", async () => {
    const startMs = Date.now() + 2000; // long enough for all to have loaded the code
    const script = `
      const { openBase } = await import(process.argv[1]);
      await new Promise((done) => setTimeout(done, ${startMs} - Date.now()));
      const onProgress = () => process.stdout.write("converting\\n");
      const { weights } = await openBase(process.argv[2], { cacheFolder: process.argv[3], onProgress });
      console.log((await weights.read("embed.weight")).data.length);`;
    const args = [distFile("models/base-model.js"), join(FIXTURES, "llama"), cache];
    const command = ["--input-type=module", "-e", script, ...args];
    const killed = runNode(command, { onOutput: (_text, child) => child.kill("SIGKILL") });
    const runs = await Promise.all([1, 2, 3].map(() => runNode(command)));
    for (const { exitCode, stdout, stderr } of runs)
      expect([exitCode, stdout.trim().split("\n").at(-1), stderr]).toEqual([0, "4800", ""]);
    await killed;
    await openBase(join(FIXTURES, "llama"), { cacheFolder: cache });
    expect((await converted()).files).toContain("weights.bin");
    expect((await converted()).files.length).toBeLessThanOrEqual(2); // the killed one may have left its own
  });
});

test("a cache folder that is a file is an error that says so", async () => {
  const { source, specs } = await llama();
  const file = join(cache, "file");
  await writeFile(file, "");
  await expect(openWeightFile(source, specs, file)).rejects.toThrow(/a part of the path is a file/);
});

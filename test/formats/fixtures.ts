import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import type { SafetensorsInput } from "../../src/formats/safetensors/encode.ts";
import { openSafetensors } from "../../src/formats/safetensors/read.ts";
import { writeSafetensors } from "../../src/formats/safetensors/write.ts";

/** Folder of the committed fixtures of this folder's tests. */
export const FIXTURES: string = new URL("../fixtures/formats/", import.meta.url).pathname;

/** A transformers model of architectures.json. */
export interface Architecture {
  readonly config: Record<string, unknown>;
  /** Name → shape. */
  readonly tensors: Record<string, number[]>;
  /** transformers' tensor name → that of the gguf package; null where it has none. */
  readonly gguf: Record<string, string | null>;
  readonly modules: string[];
}

export async function readFixture<T>(name: string): Promise<T> {
  return JSON.parse(await readFile(join(FIXTURES, name), "utf8")) as T;
}

/** Bytes of a base64 string, at the start of their own buffer so that any typed array can view them. */
export function decode(base64: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.from(base64, "base64"));
}

/** A folder that is gone after the test. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "lowrank-formats-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** A copy of a fixture folder that a test may break. */
export async function copyOf(fixture: string): Promise<string> {
  const folder = join(await temporaryFolder(), fixture);
  await cp(join(FIXTURES, fixture), folder, { recursive: true });
  return folder;
}

type Json = Record<string, unknown>;

export async function editJson(path: string, edit: (json: Json) => unknown): Promise<void> {
  const json = JSON.parse(await readFile(path, "utf8"));
  await writeFile(path, JSON.stringify(edit(json) ?? json));
}

/** Rewrites the single weight file of a folder. */
export async function editWeights(
  folder: string,
  edit: (tensors: SafetensorsInput[]) => SafetensorsInput[],
): Promise<void> {
  const path = join(folder, "model.safetensors");
  const file = await openSafetensors(path);
  const tensors: SafetensorsInput[] = [];
  for (const { name, shape } of file.entries.values())
    tensors.push({ name, shape, data: (await file.read(name)).data });
  await file.close();
  await writeSafetensors(path, edit(tensors));
}

/** Bits of floats, for comparisons that tell -0 from 0 and NaN from NaN. */
export function bitsOf(values: Float32Array): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset, values.length);
}

/** The error that a promise must be rejected with. */
export async function failure(run: Promise<unknown>): Promise<Error> {
  return run.then(
    () => {
      throw new Error("nothing was thrown");
    },
    (error) => error,
  );
}

/** Message of the error that a promise must be rejected with. */
export async function messageOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => "no error",
    (error: Error) => `${error.name}: ${error.message}`,
  );
}

import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";

/** Folder of the committed fixtures of this folder's tests. */
export const FIXTURES: string = new URL("../fixtures/formats/", import.meta.url).pathname;

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

/** Bits of floats, for comparisons that tell -0 from 0 and NaN from NaN. */
export function bitsOf(values: Float32Array): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset, values.length);
}

/** Message of the error that a promise must be rejected with. */
export async function messageOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => "no error",
    (error: Error) => `${error.name}: ${error.message}`,
  );
}

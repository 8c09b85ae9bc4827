import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { BaseModel } from "../../src/models/base-model.ts";
import { openBase } from "../../src/models/base-model.ts";
import type { Tensor } from "../../src/tensor/tensor.ts";
import { readTensors } from "./harness.ts";

/** An encoder of test/fixtures/encoders, opened, with what PyTorch computed on it. */
export interface TinyEncoder {
  readonly folder: string;
  readonly cacheFolder: string;
  readonly base: BaseModel;
  expected(name: string): Tensor;
  close(): Promise<void>;
}

/** Folder of a fixture. */
export function encoderFolder(name: string): string {
  return fileURLToPath(new URL(`../fixtures/encoders/${name}`, import.meta.url));
}

/** A fixture by name; its weights are converted below a new temporary folder. */
export async function openEncoder(name: string): Promise<TinyEncoder> {
  const folder = encoderFolder(name);
  const cacheFolder = await mkdtemp(join(tmpdir(), "lowrank-test-"));
  const base = await openBase(folder, { offline: true, cacheFolder });
  const tensors = await readTensors(join(folder, "expected.safetensors")).catch(() => new Map());
  return {
    folder,
    cacheFolder,
    base,
    expected: (key) => {
      const tensor = tensors.get(key);
      if (!tensor) throw new Error(`${name}: no expected ${key}`);
      return tensor;
    },
    close: () => rm(cacheFolder, { recursive: true }),
  };
}

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Example } from "../../src/data/batch.ts";
import type { BaseModel } from "../../src/models/base.ts";
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

/** The rows of the expected batch, without their padding. */
export function examplesOf({ expected }: TinyEncoder): Example[] {
  const [ids, types, mask, labels] = ["input_ids", "token_type_ids", "attention_mask", "labels"].map(
    expected,
  ) as [Tensor, Tensor, Tensor, Tensor];
  const [rows, width] = ids.shape as [number, number];
  return Array.from({ length: rows }, (_, index) => {
    const cells = (t: Tensor): number[] =>
      Array.from(t.data as Int32Array)
        .slice(index * width, (index + 1) * width)
        .filter((_, i) => mask.data[index * width + i] === 1);
    const own = Int32Array.from(cells(ids));
    return {
      ids: own,
      isLabel: new Uint8Array(own.length),
      types: Uint8Array.from(cells(types)),
      target: Number(labels.data[index]),
      index,
    };
  });
}

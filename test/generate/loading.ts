import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { LoadedModel } from "../../src/generate/loaded.ts";
import { type LoadModelOptions, loadModel } from "../../src/generate/model.ts";
import { fixturePath } from "../peft/adapters.ts";

/** A tiny model's folder. */
export function modelPath(name: string): string {
  return fixturePath(`models/${name}`);
}

/** The adapter that PEFT made for it. */
export function adapterPath(name: string): string {
  return join(modelPath(name), "adapter");
}

/** Loads tiny models with a cache folder of its own, and closes them. */
export interface Loader {
  /** The cache folder, for other things too. */
  readonly folder: string;
  load(name: string, options?: Partial<LoadModelOptions>): Promise<LoadedModel>;
  closeAll(): Promise<void>;
  remove(): Promise<void>;
}

export async function createLoader(): Promise<Loader> {
  const folder = await mkdtemp(join(tmpdir(), "lowrank-test-"));
  const opened: LoadedModel[] = [];
  return {
    folder,
    load: async (name, options = {}) => {
      const access = { cacheFolder: folder, offline: true, threads: 1 };
      const model = await loadModel({ model: modelPath(name), ...access, ...options });
      opened.push(model);
      return model;
    },
    closeAll: async () => {
      await Promise.all(opened.splice(0).map((model) => model.close()));
    },
    remove: () => rm(folder, { recursive: true }),
  };
}

/** Greedy ids by whole forward passes, without a cache. */
export async function greedyByLogits(
  model: LoadedModel,
  prompt: readonly number[],
  count: number,
): Promise<number[]> {
  const ids: number[] = [];
  while (ids.length < count) {
    const last = (await model.logits([...prompt, ...ids])).at(-1) as Float32Array;
    const id = last.indexOf(Math.max(...last));
    if (model.base.eosIds.includes(id)) break;
    ids.push(id);
  }
  return ids;
}

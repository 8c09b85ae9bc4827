import type { ModelSource } from "../formats/model.ts";
import type { PlacedWeights } from "../generate/loaded.ts";
import { weight } from "../graph/value.ts";
import type { Storage } from "../io/storage/storage.ts";
import type { BaseModel } from "../models/base.ts";
import type { OpenWeights } from "../models/base-of.ts";
import { openStoredWeights } from "../models/stored-weights.ts";
import type { ConvertOptions } from "../models/weight-layout.ts";
import type { MergedWeights } from "../peft/merge/weights.ts";

/** The weights of one model in a storage that may hold others too. */
export interface PageWeights {
  /** Converts them where they are not there yet. */
  open(source: ModelSource, options: ConvertOptions): OpenWeights;
  /** Those that graphs name, by the names of their files. */
  files(): Promise<Readonly<Record<string, Uint8Array>>>;
  /** Keeps merged weights beside them, and closes what computes them. */
  placeMerged(merged: MergedWeights, base: BaseModel): Promise<PlacedWeights>;
}

/** No weights yet. */
export function pageWeights(storage: Storage): PageWeights {
  const inUse = new Set<string>();
  let merges = 0;
  return {
    open: (source, options) => async (specs, storages) => {
      const weights = await openStoredWeights(source, specs, storage, { ...options, storages });
      inUse.add(weights.fileName);
      return weights;
    },
    files: async () => {
      const files: Record<string, Uint8Array> = {};
      for (const name of inUse) files[name] = await storage.read(name, Number.POSITIVE_INFINITY);
      return files;
    },
    placeMerged: async (merged, base) => {
      const fileName = `merged-${++merges}.weights`;
      const values = await writeMerged(merged, storage, fileName).finally(merged.close);
      inUse.add(fileName);
      return {
        lookup: (name) => values.get(name) ?? base.decoding(name),
        remove: async () => {
          inUse.delete(fileName);
          await storage.remove(fileName);
        },
      };
    },
  };
}

/** Writes changed weights one after another, one in memory at a time. */
async function writeMerged(merged: MergedWeights, storage: Storage, fileName: string) {
  const values = new Map<string, ReturnType<typeof weight>>();
  await storage.write(fileName, async (write) => {
    let offsetBytes = 0;
    for (const name of merged.paths) {
      const { data, shape } = await merged.read(name);
      const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
      await write(bytes);
      const place = { fileName, offsetBytes, sizeBytes: bytes.length };
      values.set(name, weight(`merged ${name}`, shape, place));
      offsetBytes += bytes.length;
    }
  });
  return values;
}

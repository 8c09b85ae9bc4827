import { open, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { type Value, weight } from "../graph/value.ts";
import { storing, writeAll } from "../io/disk.ts";
import { removeLeftovers, temporaryPath } from "../io/temporary.ts";
import type { BaseModel } from "../models/base.ts";
import type { MergedWeights } from "../peft/merge/weights.ts";
import { sizeOf } from "../tensor/tensor.ts";
import type { PlacedWeights } from "./loaded.ts";

/** Weights start at page borders, so that each can be memory-mapped by itself. */
const PAGE_BYTES = 4096;

/** Writes changed weights beside the base's file, where the runtime finds both.
 *  @throws LowrankError ("storage") if the disk does not take it; nothing is left then */
export async function writeMergedFile(merged: MergedWeights, base: BaseModel): Promise<PlacedWeights> {
  const path = temporaryPath(join(base.weights.folder, ".merged"));
  const fileName = basename(path);
  await removeLeftovers(base.weights.folder);
  try {
    const values = await storing(path, () => writeWeights(merged, path, fileName));
    return {
      lookup: (name) => values.get(name) ?? base.decoding(name),
      remove: () => rm(path, { force: true }),
    };
  } catch (error) {
    await rm(path, { force: true });
    throw error;
  } finally {
    await merged.close();
  }
}

async function writeWeights(
  merged: MergedWeights,
  path: string,
  fileName: string,
): Promise<ReadonlyMap<string, Value>> {
  const values = new Map<string, Value>();
  const file = await open(path, "w");
  let offsetBytes = 0;
  try {
    for (const name of merged.paths) {
      const { data, shape } = await merged.read(name);
      const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
      await writeAll(file, bytes, offsetBytes);
      const place = { fileName, offsetBytes, sizeBytes: 4 * sizeOf(shape) };
      values.set(name, weight(`merged ${name}`, shape, place));
      offsetBytes += Math.ceil(bytes.length / PAGE_BYTES) * PAGE_BYTES;
    }
    await file.truncate(offsetBytes);
  } finally {
    await file.close();
  }
  return values;
}

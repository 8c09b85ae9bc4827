import { writeFileAtomic } from "../../io/disk.ts";
import {
  checkNames,
  type SafetensorsInput,
  safetensorsPieces,
  type WriteSafetensorsOptions,
} from "./encode.ts";

/** Writes a safetensors file: to a temporary file, synced, then renamed, so that `path` is never half-written. Tensors
 *  are stored in the order given.
 *  @throws InputError for repeated names and values that F16 cannot hold; ShapeError if data does not fit its shape. */
export async function writeSafetensors(
  path: string,
  tensors: Iterable<SafetensorsInput>,
  options: WriteSafetensorsOptions = {},
): Promise<void> {
  const list = [...tensors];
  checkNames(path, list);
  await writeFileAtomic(path, async (write) => {
    for await (const piece of safetensorsPieces(list, options)) await write(piece);
  });
}

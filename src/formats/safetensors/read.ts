import { openFile } from "../../io/disk.ts";
import { type SafetensorsFile, safetensorsOf } from "./file.ts";

/** Opens a safetensors file and checks all of its header against the file: format at
 *  https://github.com/huggingface/safetensors#format.
 *  @throws NotFoundError; FormatError if the header cannot be read; InputError listing every tensor at fault. */
export async function openSafetensors(path: string): Promise<SafetensorsFile> {
  return safetensorsOf(await openFile(path));
}

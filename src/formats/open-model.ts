import { stat } from "node:fs/promises";
import { resolve } from "node:path";
import { FormatError, NotFoundError, UnsupportedError } from "../errors.ts";
import { openFile } from "../io/disk.ts";
import { exists } from "../io/download.ts";
import { openGgufModel } from "./gguf/open.ts";
import { openHfFolder } from "./hf/folder.ts";
import type { ModelSource } from "./model.ts";

async function firstBytes(path: string): Promise<Buffer> {
  const file = await openFile(path);
  try {
    const bytes = Buffer.alloc(Math.min(4, file.sizeBytes));
    await file.read(0, bytes);
    return bytes;
  } finally {
    await file.close();
  }
}

/** What else a file is, for the message: a pickle is a zip archive or starts with opcode 0x80. */
function refusal(path: string, magic: Buffer): Error {
  if (path.endsWith(".safetensors"))
    return new UnsupportedError(
      `${path} holds weights only; give the folder with its config.json and tokenizer.json`,
    );
  if (magic[0] === 0x80 || magic.toString("latin1", 0, 2) === "PK")
    return new UnsupportedError(
      `${path} looks like a pickle, which can run code when opened and is not read; convert the model to safetensors`,
    );
  return new FormatError(path, "is not a model, expected a Hugging Face folder or a GGUF file");
}

/** Opens a model on disk: a Hugging Face folder, or a GGUF file whatever its name. `name` is what the user asked for.
 *  @throws NotFoundError if there is nothing at `path`; errors of `openHfFolder` and `openGgufModel`. */
export async function openModel(path: string, name: string = path): Promise<ModelSource> {
  const absolute = resolve(path);
  if (!(await exists(absolute))) throw new NotFoundError(`${path}: no such file or folder`);
  if ((await stat(absolute)).isDirectory()) return openHfFolder(absolute, name);
  const magic = await firstBytes(absolute);
  if (magic.toString("latin1") === "GGUF") return openGgufModel(absolute, name);
  throw refusal(absolute, magic);
}

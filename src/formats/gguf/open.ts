import { resolve } from "node:path";
import { openFile } from "../../io/disk.ts";
import type { ModelSource } from "../model.ts";
import { type GgufFile, ggufOf } from "./file.ts";
import { openGgufSource } from "./source.ts";

/** Opens a GGUF file. @throws NotFoundError, and as `ggufOf` */
export async function openGguf(path: string): Promise<GgufFile> {
  return ggufOf(await openFile(path));
}

/** Opens a .gguf model file. @throws NotFoundError, and as `openGgufSource` */
export async function openGgufModel(path: string, name: string = path): Promise<ModelSource> {
  return openGgufSource(await openFile(resolve(path)), name);
}

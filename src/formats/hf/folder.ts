import { resolve } from "node:path";
import { folderStorage } from "../../io/storage/disk-storage.ts";
import type { ModelSource } from "../model.ts";
import { openHfSource } from "./source.ts";

/** Opens a Hugging Face model folder. @throws as `openHfSource` */
export async function openHfFolder(path: string, name: string = path): Promise<ModelSource> {
  return openHfSource(folderStorage(resolve(path)), name);
}

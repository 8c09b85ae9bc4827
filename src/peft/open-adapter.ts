import { readAdapter } from "../formats/peft-adapter.ts";
import type { LoraConfig } from "../formats/peft-config.ts";
import { resolveAdapter } from "../formats/resolve.ts";
import type { BaseModel, OpenBaseOptions } from "../models/base-model.ts";
import { adapterParameters } from "./adapter.ts";
import { type Lora, lora } from "./lora.ts";

/** An adapter on disk, fitted to a base model. */
export interface OpenedAdapter {
  /** Folder that holds its files. */
  readonly path: string;
  readonly config: LoraConfig;
  /** Things in its files that were passed over. */
  readonly warnings: readonly string[];
  readonly lora: Lora;
  /** Its parameters as one flat vector, in the order of `lora.trainables`. */
  readonly theta: Float32Array;
}

/** Finds an adapter (a folder, a run folder, a Hub id), reads it and fits it to a model.
 *  @throws NotFoundError, NetworkError, FormatError, UnsupportedError; InputError listing everything that does not fit */
export async function openAdapter(
  name: string,
  base: BaseModel,
  options: OpenBaseOptions = {},
): Promise<OpenedAdapter> {
  const { offline = false, cacheFolder, onProgress, signal } = options;
  const path = await resolveAdapter(name, {
    offline,
    ...(cacheFolder === undefined ? {} : { cacheDir: cacheFolder }),
    ...(onProgress ? { onProgress } : {}),
    ...(signal ? { signal } : {}),
  });
  const file = await readAdapter(path);
  const { family } = base.config;
  const adaptation = lora(file.config, family, base.modules);
  const theta = adapterParameters(adaptation, family, file, path);
  return { path, config: file.config, warnings: file.warnings, lora: adaptation, theta };
}

import { UnsupportedError } from "../errors.ts";
import type { BaseModel } from "../models/base.ts";
import { type OpenBaseOptions, openBase } from "../models/base-model.ts";
import { openAdapter } from "../peft/files/adapter.ts";
import { type AdapterChoice, openChosen } from "../peft/use/adapter-choice.ts";
import { checkDevice, DEFAULT_DEVICE, type Device, deviceWarnings } from "../runtime/device.ts";
import { openRuntime } from "../runtime/runtime.ts";
import { createGrammar } from "./grammar.ts";
import { contextLengthOf, createLoaded, type LoadedModel } from "./loaded.ts";
import { writeMergedFile } from "./merged-file.ts";

/** How to load a model for use. */
export interface LoadModelOptions extends OpenBaseOptions, AdapterChoice {
  /** Alias, folder, .gguf file or Hub id. */
  readonly model: string;
  readonly device?: Device;
  readonly threads?: number | null;
  /** Longest text in tokens, prompt included; default: the model's positions, at most 8192. */
  readonly contextLength?: number;
}

/** The base with what the user of a device should know among its warnings. */
export function onDevice(base: BaseModel, device: Device): BaseModel {
  return { ...base, warnings: [...base.warnings, ...deviceWarnings(device)] };
}

/** Opens a model, and an adapter on it, for generation.
 *  @throws as `openBase`, and NotFoundError, InputError, UnsupportedError for adapter and device: before the first token */
export async function loadModel(options: LoadModelOptions): Promise<LoadedModel> {
  const { device = DEFAULT_DEVICE, threads = null } = options;
  checkDevice(device);
  const base = onDevice(await openBase(options.model, options), device);
  if (base.config.encoder)
    throw new UnsupportedError(
      `${base.source.name} is an encoder (${base.config.architecture}): it generates no text. Classify with it: lowrank classify, loadClassifier`,
    );
  const positionCount = contextLengthOf(options, base);
  const chosen = await openChosen(options, base, options);
  const runtime = openRuntime({ device, threads });
  try {
    const { signal: _ofLoading, ...access } = options;
    const model = createLoaded<string>({
      ...{ base, runtime, positionCount, createGrammar },
      openAdapter: (adapter) => openAdapter(adapter, base, access),
      placeMerged: (merged) => writeMergedFile(merged, base),
    });
    await model.start(chosen);
    return model.loaded;
  } catch (error) {
    await runtime.close();
    throw error;
  }
}

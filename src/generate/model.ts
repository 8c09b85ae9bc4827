import { UnsupportedError } from "../errors.ts";
import type { BaseModel } from "../models/base.ts";
import { type OpenBaseOptions, openBase } from "../models/base-model.ts";
import { openAdapter } from "../peft/files/adapter.ts";
import { type AdapterChoice, openChosen } from "../peft/use/adapter-choice.ts";
import { type ChosenDevice, chooseDevice } from "../runtime/check/choose.ts";
import { DEFAULT_DEVICE, type DeviceChoice } from "../runtime/device.ts";
import { openRuntime } from "../runtime/runtime.ts";
import { createGrammar } from "./grammar.ts";
import { contextLengthOf, createLoaded, type LoadedModel } from "./loaded.ts";
import { writeMergedFile } from "./merged-file.ts";

/** How to load a model for use. */
export interface LoadModelOptions extends OpenBaseOptions, AdapterChoice {
  /** Alias, folder, .gguf file or Hub id. */
  readonly model: string;
  readonly device?: DeviceChoice;
  readonly threads?: number | null;
  /** Longest text in tokens, prompt included; default: the model's positions, at most 8192. */
  readonly contextLength?: number;
}

/** The base with what the user of a device should know among its warnings. */
export function onDevice(base: BaseModel, { notes }: ChosenDevice): BaseModel {
  return { ...base, warnings: [...base.warnings, ...notes] };
}

/** Opens a model, and an adapter on it, for generation.
 *  @throws as `openBase`, and NotFoundError, InputError, UnsupportedError for adapter and device: before the first token */
export async function loadModel(options: LoadModelOptions): Promise<LoadedModel> {
  const chosen = await chooseDevice(options.device ?? DEFAULT_DEVICE);
  const base = onDevice(await openBase(options.model, options), chosen);
  if (base.config.encoder)
    throw new UnsupportedError(
      `${base.source.name} is an encoder (${base.config.architecture}): it generates no text. Classify with it: lowrank classify, loadClassifier`,
    );
  const positionCount = contextLengthOf(options, base);
  const adapted = await openChosen(options, base, options);
  const runtime = openRuntime({ device: chosen.device, threads: options.threads ?? null });
  try {
    const { signal: _ofLoading, ...access } = options;
    const model = createLoaded<string>({
      ...{ base, runtime, positionCount, createGrammar },
      openAdapter: (adapter) => openAdapter(adapter, base, access),
      placeMerged: (merged) => writeMergedFile(merged, base),
    });
    await model.start(adapted);
    return model.loaded;
  } catch (error) {
    await runtime.close();
    throw error;
  }
}

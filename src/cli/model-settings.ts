import { z } from "zod";
import { baseModelOfAdapter } from "../formats/foreign-adapter.ts";
import type { OnProgress } from "../formats/model-source.ts";
import { resolveAdapter } from "../formats/resolve.ts";
import type { LoadedModel } from "../generate/model.ts";
import { trainSettings } from "../train/config.ts";
import { type Setting, setting } from "../train/settings.ts";
import type { Cli } from "./command.ts";
import { type ProgressDisplay, progressDisplay } from "./display/progress.ts";
import { importLoadModel } from "./library.ts";

const GROUP = "Model";

/** Options of every command that works with a model. */
export const modelSettings = {
  model: setting(z.string().min(1).nullable(), null, {
    group: GROUP,
    value: "model",
    description: "an alias, a Hugging Face folder, a .gguf file or a Hub id",
    defaultText: "the adapter's base, else smollm2-135m",
  }) as Setting<string | null>,
  adapter: setting(z.string().min(1).nullable(), null, {
    group: GROUP,
    value: "path",
    description: "adapter to use: its folder (PEFT, mlx-lm), the run folder that holds it, or a .gguf file",
    knownAs: ["lora", "adapterPath"],
  }) as Setting<string | null>,
  baseBits: trainSettings.baseBits as typeof trainSettings.baseBits,
  device: trainSettings.device as typeof trainSettings.device,
  threads: trainSettings.threads as typeof trainSettings.threads,
  offline: trainSettings.offline as typeof trainSettings.offline,
};

/** What the user said about the model, checked. */
export type ModelChoice = { readonly [K in keyof typeof modelSettings]: z.output<(typeof modelSettings)[K]> };

/** A model to load, as the library takes it. */
export interface ModelRequest {
  readonly model: string;
  readonly adapter?: string;
  readonly baseBits: ModelChoice["baseBits"];
  readonly device: ModelChoice["device"];
  readonly threads: number | null;
  readonly offline: boolean;
}

/** The model to load: the adapter found in its run folder, in the cache or on the Hub; the base model taken from it where
 *  none is named. */
export async function resolveModel(choice: ModelChoice, onProgress: OnProgress): Promise<ModelRequest> {
  const { offline } = choice;
  const adapter =
    choice.adapter === null ? null : await resolveAdapter(choice.adapter, { offline, onProgress });
  const model = choice.model ?? (adapter === null ? null : await baseOf(adapter)) ?? "smollm2-135m";
  return {
    model,
    baseBits: choice.baseBits,
    device: choice.device,
    threads: choice.threads,
    offline,
    ...(adapter === null ? {} : { adapter }),
  };
}

async function baseOf(adapter: string): Promise<string | null> {
  try {
    return await baseModelOfAdapter(adapter);
  } catch {
    return null; // loading the adapter says what is wrong with it
  }
}

/** Loads the model and says on stderr what was passed over in its adapter. */
export async function loadChosen(choice: ModelChoice, cli: Cli, signal?: AbortSignal): Promise<LoadedModel> {
  const { onProgress, close } = progressTo(cli);
  try {
    const request = await resolveModel(choice, onProgress);
    const loadModel = await importLoadModel();
    const model = await loadModel({ ...request, onProgress, ...(signal ? { signal } : {}) });
    close();
    warn(cli, model.adapter?.warnings ?? []);
    return model;
  } finally {
    close();
  }
}

/** Warnings on stderr. */
export function warn({ err }: Cli, messages: readonly string[]): void {
  for (const message of messages) err.write(`${err.style.yellow("warning:")} ${message}\n`);
}

/** Progress on stderr, so that results can be piped; silent where nobody watches. */
export function progressTo(cli: Cli): ProgressDisplay & { readonly onProgress: OnProgress } {
  const display = progressDisplay(cli.err);
  return { ...display, onProgress: display.show };
}

import { access, readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { NotFoundError } from "../errors.ts";
import type { OnProgress } from "../formats/model-source.ts";
import { trainSettings } from "../train/config.ts";
import { type Setting, setting } from "../train/settings.ts";
import type { Cli } from "./command.ts";
import { type ProgressDisplay, progressDisplay } from "./display/progress.ts";
import type { LoadRequest } from "./library.ts";

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
    value: "folder",
    description: "adapter to use: its folder, or the run folder that holds it",
    knownAs: ["lora", "adapterPath"],
  }) as Setting<string | null>,
  device: trainSettings.device as typeof trainSettings.device,
  threads: trainSettings.threads as typeof trainSettings.threads,
  offline: trainSettings.offline as typeof trainSettings.offline,
};

/** What the user said about the model, checked. */
export type ModelChoice = { readonly [K in keyof typeof modelSettings]: z.output<(typeof modelSettings)[K]> };

/** The model to load: the adapter found in its run folder, the base model taken from it where none is named. */
export async function resolveModel(choice: ModelChoice): Promise<Omit<LoadRequest, "onProgress" | "signal">> {
  const adapter = choice.adapter === null ? null : await findAdapter(choice.adapter);
  const model = choice.model ?? (adapter === null ? null : await baseOf(adapter)) ?? "smollm2-135m";
  return {
    model,
    device: choice.device,
    offline: choice.offline,
    ...(adapter === null ? {} : { adapter }),
    ...(choice.threads === null ? {} : { threads: choice.threads }),
  };
}

/** The folder with adapter_config.json: the one named, or `adapter/` in it. @throws NotFoundError */
export async function findAdapter(path: string): Promise<string> {
  for (const folder of [path, join(path, "adapter")])
    if (await exists(join(folder, "adapter_config.json"))) return folder;
  throw new NotFoundError(
    `${path}: no adapter there (no adapter_config.json, neither in ${join(path, "adapter")})`,
  );
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

async function baseOf(adapter: string): Promise<string | null> {
  try {
    const config = JSON.parse(await readFile(join(adapter, "adapter_config.json"), "utf8")) as Record<
      string,
      unknown
    >;
    return typeof config.base_model_name_or_path === "string" ? config.base_model_name_or_path : null;
  } catch {
    return null; // loading the adapter says what is wrong with it
  }
}

/** Progress on stderr, so that results can be piped; silent where nobody watches. */
export function progressTo(cli: Cli): ProgressDisplay & { readonly onProgress: OnProgress } {
  const display = progressDisplay(cli.err);
  return { ...display, onProgress: display.show };
}

import { z } from "zod";
import { baseModelOfAdapter } from "../formats/foreign-adapter.ts";
import type { LoadedModel } from "../generate/model.ts";
import { resolveAdapter } from "../hub/resolve.ts";
import { exists } from "../io/download.ts";
import type { OnProgress } from "../io/progress.ts";
import { trainSettings } from "../train/config/config.ts";
import { type Setting, setting } from "../train/config/setting.ts";
import type { templateSettings } from "../train/config/template.ts";
import { namedAdapters } from "./adapter-names.ts";
import type { Cli } from "./command.ts";
import { type ProgressDisplay, progressDisplay } from "./display/progress.ts";
import { printable } from "./display/text.ts";
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
  adapter: setting(z.array(z.string().min(1)), [], {
    group: GROUP,
    value: "[name=]path[=factor]",
    description:
      "adapter to use: its folder (PEFT, mlx-lm), the run folder that holds it, a .gguf file or a Hub id; may be repeated, for " +
      "the (weighted) sum of several",
    knownAs: ["lora", "adapterPath", "adapters"],
  }) as Setting<readonly string[]>,
  anyBase: setting(z.boolean(), false, {
    group: GROUP,
    description: "use adapters also where they name another base model than this",
  }) as Setting<boolean>,
  baseBits: trainSettings.baseBits as typeof trainSettings.baseBits,
  device: trainSettings.device as typeof trainSettings.device,
  threads: trainSettings.threads as typeof trainSettings.threads,
  offline: trainSettings.offline as typeof trainSettings.offline,
};

/** What the user said about the chat template, checked. */
export type TemplateChoice = {
  readonly [K in keyof typeof templateSettings]: z.output<(typeof templateSettings)[K]>;
};

/** What the user said about the model, checked. */
export type ModelChoice = { readonly [K in keyof typeof modelSettings]: z.output<(typeof modelSettings)[K]> };

/** The same for a command that takes one adapter. */
export const oneAdapter = setting(z.string().min(1).nullable(), null, {
  group: GROUP,
  value: "path",
  description: "adapter: its folder (PEFT, mlx-lm), the run folder that holds it, a .gguf file or a Hub id",
  knownAs: ["lora", "adapterPath"],
}) as Setting<string | null>;

/** A model to load, as the library takes it. */
export interface ModelRequest {
  readonly model: string;
  readonly adapters: Readonly<Record<string, string>>;
  readonly weights: Readonly<Record<string, number>>;
  readonly anyBase: boolean;
  readonly baseBits: ModelChoice["baseBits"];
  readonly device: ModelChoice["device"];
  readonly threads: number | null;
  readonly offline: boolean;
}

/** The model to load: the adapters found in their run folders, in the cache or on the Hub; the base model taken from the first
 *  that names one where none is named. @throws UsageError for two adapters of one name */
export async function resolveModel(choice: ModelChoice, onProgress: OnProgress): Promise<ModelRequest> {
  const { offline, device, threads, anyBase, baseBits } = choice;
  const named = await namedAdapters(choice.adapter, (text) => exists(text));
  const adapters: Record<string, string> = {};
  for (const { name, path } of named) adapters[name] = await resolveAdapter(path, { offline, onProgress });
  const model = choice.model ?? (await firstBase(Object.values(adapters))) ?? "smollm2-135m";
  const weights = Object.fromEntries(named.map((a) => [a.name, a.factor]));
  return { model, adapters, weights, anyBase, baseBits, device, threads, offline };
}

async function firstBase(adapters: readonly string[]): Promise<string | null> {
  for (const adapter of adapters) {
    const base = await baseOf(adapter);
    if (base !== null) return base;
  }
  return null;
}

async function baseOf(adapter: string): Promise<string | null> {
  try {
    return await baseModelOfAdapter(adapter);
  } catch {
    return null; // loading the adapter says what is wrong with it
  }
}

/** Loads the model and says on stderr what was passed over in its adapter. */
export async function loadChosen(
  choice: ModelChoice & TemplateChoice,
  cli: Cli,
  signal?: AbortSignal,
): Promise<LoadedModel> {
  const { onProgress, close } = progressTo(cli);
  try {
    const request = await resolveModel(choice, onProgress);
    const loadModel = await importLoadModel();
    const { templateArgs, templateDate } = choice;
    const model = await loadModel({
      ...request,
      templateArgs,
      templateDate,
      onProgress,
      ...(signal ? { signal } : {}),
    });
    close();
    warn(cli, [
      ...model.base.warnings,
      ...Object.values(model.adapters).flatMap((adapter) => adapter.warnings),
    ]);
    return model;
  } finally {
    close();
  }
}

/** Warnings on stderr. */
export function warn({ err }: Cli, messages: readonly string[]): void {
  for (const message of messages) err.write(`${err.style.yellow("warning:")} ${printable(message)}\n`);
}

/** Progress on stderr, so that results can be piped; silent where nobody watches. */
export function progressTo(cli: Cli): ProgressDisplay & { readonly onProgress: OnProgress } {
  const display = progressDisplay(cli.err);
  return { ...display, onProgress: display.show };
}

import { z } from "zod";
import { baseModelOfAdapter } from "../formats/foreign-adapter.ts";
import type { LoadedModel } from "../generate/loaded.ts";
import { resolveAdapter } from "../hub/resolve.ts";
import { exists } from "../io/download.ts";
import type { OnProgress } from "../io/progress.ts";
import { type BaseOptions, baseSettings } from "../models/options.ts";
import { type Setting, type SettingsOf, setting } from "../options/setting.ts";
import { type DeviceOptions, deviceSettings } from "../runtime/device.ts";
import type { TemplateOptions } from "../text/template-options.ts";
import { trainSettings } from "../train/config/config.ts";
import { namedAdapters } from "./adapter-names.ts";
import type { Cli } from "./command.ts";
import { type ProgressDisplay, progressDisplay } from "./display/progress.ts";
import { printable } from "./display/text.ts";
import { importLoadModel } from "./library.ts";

const GROUP = "Model";

/** What the user says about the model. */
export interface ModelChoice extends Pick<BaseOptions, "baseBits">, DeviceOptions {
  /** null: the adapter's base, else smollm2-135m. */
  readonly model: string | null;
  /** Each `[name=]path[=factor]`. */
  readonly adapter: readonly string[];
  /** Use adapters also where they name another base model. */
  readonly anyBase: boolean;
  /** Use the cache only, never the network. */
  readonly offline: boolean;
}

/** Options of every command that works with a model. */
export const modelSettings: SettingsOf<ModelChoice> = {
  model: setting(z.string().min(1).nullable(), null, {
    group: GROUP,
    value: "model",
    description: "an alias, a Hugging Face folder, a .gguf file or a Hub id",
    defaultText: "the adapter's base, else smollm2-135m",
  }),
  adapter: setting(z.array(z.string().min(1)), [], {
    group: GROUP,
    value: "[name=]path[=factor]",
    description:
      "adapter to use: its folder (PEFT, mlx-lm), the run folder that holds it, a .gguf file or a Hub id; may be repeated, for " +
      "the (weighted) sum of several",
    knownAs: ["lora", "adapterPath", "adapters"],
  }),
  anyBase: setting(z.boolean(), false, {
    group: GROUP,
    description: "use adapters also where they name another base model than this",
  }),
  baseBits: baseSettings.baseBits,
  ...deviceSettings,
  offline: trainSettings.offline,
};

/** The same for a command that takes one adapter. */
export const oneAdapter: Setting<string | null> = setting(z.string().min(1).nullable(), null, {
  group: GROUP,
  value: "path",
  description: "adapter: its folder (PEFT, mlx-lm), the run folder that holds it, a .gguf file or a Hub id",
  knownAs: ["lora", "adapterPath"],
});

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
  choice: ModelChoice & TemplateOptions,
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

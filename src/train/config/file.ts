import { basename, extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { isMap, isScalar, LineCounter, parseDocument } from "yaml";
import { FormatError, InputError, NotFoundError, type Problem } from "../../errors.ts";
import { readBytes, writeFileAtomic } from "../../io/disk.ts";
import { describeSettings, flagName, type Layer } from "../../options/setting.ts";
import { latestRunFolder } from "../run-folder.ts";
import {
  resolveTrainConfig,
  type TrainConfig,
  type TrainOptions,
  trainConfig,
  trainConfigSchema,
} from "./config.ts";

/** The file in a run folder that holds the run's options. */
export const CONFIG_FILE = "run.json";

/** The recipe that runs when neither model nor data nor a config file is named. */
export const QUICKSTART = "quickstart";

/** What the command line says. */
export interface ConfigRequest {
  /** Values of flags that were given, by key. */
  readonly flags: Readonly<Record<string, unknown>>;
  /** A YAML or JSON file, or the name of a bundled recipe. */
  readonly configFile?: string | undefined;
}

/** The options of a run: flags, then the config file, then (where neither model nor data nor file is named) the
 *  quick-start recipe, then defaults. With `resume`, the run folder's own options come last and what would change
 *  the numbers cannot be changed.
 *  @throws InputError with every problem and its place; NotFoundError for a missing file */
export async function loadTrainConfig(request: ConfigRequest): Promise<TrainConfig> {
  const flags: Layer = { values: request.flags, where: flagName };
  const file = request.configFile === undefined ? null : await readConfigFile(request.configFile);
  const given = file ? [flags, file] : [flags];
  const resume = given.map((layer) => layer.values.resume).find((value) => value !== undefined);
  if (resume !== undefined && resume !== false) return resumedConfig(given, resume);
  const implied = await quickStart(request);
  return resolveTrainConfig(implied === null ? given : [...given, implied]);
}

/** The quick start's recipe, where it is what a run takes its options from after its flags; null where a model, data, a config file or a
 *  run to go on with is named. */
export async function quickStart({ flags, configFile }: ConfigRequest): Promise<Layer | null> {
  const isNamed = [flags.model, flags.data, configFile].some((value) => value !== undefined);
  const isResumed = flags.resume !== undefined && flags.resume !== false;
  return isNamed || isResumed ? null : { ...(await readConfigFile(QUICKSTART)), isImplied: true };
}

/** The options of a run as a caller of the library states them; with `resume`, completed from the run folder.
 *  @throws InputError with every problem under its option's name; NotFoundError if there is no such run */
export async function completeTrainConfig(options: TrainOptions): Promise<TrainConfig> {
  const layer: Layer = { values: options, where: (key) => key };
  const { resume } = options;
  return resume === undefined || resume === false ? trainConfig(options) : resumedConfig([layer], resume);
}

async function resumedConfig(given: readonly Layer[], resume: unknown): Promise<TrainConfig> {
  const output = given.map((layer) => layer.values.output).find((value) => value !== undefined);
  const folder =
    typeof resume === "string" ? resume : typeof output === "string" ? output : await latestRunFolder();
  const stored = await readConfigFile(join(folder, CONFIG_FILE));
  const changed = given.flatMap((layer) => changedOptions(layer, stored));
  if (changed.length > 0)
    throw new InputError(`the run in ${folder} cannot go on with other options:`, changed);
  const place: Layer = { values: { output: folder, resume: folder }, where: () => "--resume" };
  return resolveTrainConfig([place, ...given, stored]);
}

/** Options that would make the resumed run another run. */
function changedOptions(layer: Layer, stored: Layer): Problem[] {
  const before = resolveTrainConfig([stored]);
  const after = resolveTrainConfig([
    layer,
    { ...stored, values: { ...stored.values, warmupSteps: undefined } },
  ]);
  return describeSettings(trainConfigSchema)
    .filter((info) => layer.values[info.key] !== undefined && !info.help.mayChangeOnResume)
    .map((info) => info.key as keyof TrainConfig)
    .filter((key) => key !== "output" && JSON.stringify(before[key]) !== JSON.stringify(after[key]))
    .map((key) => ({
      where: layer.where(key),
      message: `is ${JSON.stringify(before[key])} in that run, not ${JSON.stringify(after[key])}; start a new run`,
    }));
}

/** A YAML or JSON file of options, or a bundled recipe by name; errors will name file and line.
 *  @throws NotFoundError, FormatError */
export async function readConfigFile(path: string): Promise<Layer> {
  const file = extname(path) === "" && basename(path) === path ? recipePath(path) : path;
  const source = await readText(file, path);
  const lines = new LineCounter();
  const document = parseDocument(source, { lineCounter: lines, prettyErrors: false });
  const wrong = document.errors[0];
  if (wrong)
    throw new FormatError(`${file}:${lines.linePos(wrong.pos[0]).line}`, firstLine(wrong.message), {
      cause: wrong,
    });
  if (document.contents !== null && !isMap(document.contents))
    throw new FormatError(file, "expected a table of options (key: value)");
  const lineOf = new Map<string, number>();
  for (const pair of document.contents?.items ?? [])
    if (isScalar(pair.key)) lineOf.set(String(pair.key.value), lines.linePos(pair.key.range?.[0] ?? 0).line);
  return {
    isImplied: basename(file) === CONFIG_FILE,
    values: (document.toJS() ?? {}) as Record<string, unknown>,
    where: (key) => `${file}:${lineOf.get(key) ?? 1}: ${key}`,
  };
}

async function readText(file: string, asked: string): Promise<string> {
  try {
    return new TextDecoder().decode(await readBytes(file));
  } catch (error) {
    const what = file === asked ? "config file" : "config file or recipe";
    const reason = error instanceof NotFoundError ? "is not there" : (error as Error).message;
    throw new NotFoundError(`${what} ${asked}: ${reason}`, { cause: error });
  }
}

function firstLine(message: string): string {
  return message.split("\n")[0] as string;
}

function recipePath(name: string): string {
  return fileURLToPath(new URL(`../../../recipes/${name}.yaml`, import.meta.url));
}

/** Writes a run's options to its folder, so that it can be resumed and repeated (`--config`). */
export async function saveTrainConfig(runFolder: string, config: TrainConfig): Promise<void> {
  const kept = { ...config, output: runFolder, resume: undefined, dryRun: undefined };
  await writeFileAtomic(join(runFolder, CONFIG_FILE), `${JSON.stringify(kept, null, 2)}\n`);
}

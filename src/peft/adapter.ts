import { join } from "node:path";
import { FormatError, InputError } from "../errors.ts";
import {
  ADAPTER_CONFIG,
  ADAPTER_WEIGHTS,
  readAdapterConfig,
  readAdapterWeights,
  writeAdapterFolder,
} from "../formats/adapter-folder.ts";
import { readLabels } from "../formats/adapter-labels.ts";
import { readForeignAdapter } from "../formats/foreign-adapter.ts";
import type { PeftFiles } from "../formats/lora-factors.ts";
import type { Classifier } from "../formats/model-source.ts";
import { hfTensorName } from "../formats/names.ts";
import { type ResolveOptions, resolveAdapter } from "../formats/resolve.ts";
import type { BaseModel, OpenBaseOptions } from "../models/base-model.ts";
import { withClassifier } from "../models/new-head.ts";
import type { FloatTensor } from "../tensor/tensor.ts";
import type { Method } from "./method.ts";
import { openMethod } from "./methods.ts";
import type { ModelShape } from "./model-shape.ts";
import { flatten, unflatten } from "./parameters.ts";

/** Key of a combination's own adapter_config.json: the names of its parts, each a subfolder. */
const COMBINATION = "lowrank_methods";

/** An adapter on disk, fitted to a base model. */
export interface OpenedAdapter {
  /** Folder that holds its files, or a .gguf file. */
  readonly path: string;
  /** adapter_config.json as it stands; of a combination, that of the folder; of other formats, what PEFT's would be. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Things in its files that were passed over. */
  readonly warnings: readonly string[];
  readonly methods: readonly Method[];
  /** Its parameters as one flat vector, in the order of the methods' trainables. */
  readonly theta: Float32Array;
}

/** Writes the adapter of trained parameters θ. One method: PEFT's two files, whatever the method. Several: a subfolder each,
 *  and a configuration that lists them. @throws LowrankError ("storage") if the disk fails */
export async function writeMethods(
  folder: string,
  methods: readonly Method[],
  theta: Float32Array,
  baseModel: string | null,
): Promise<void> {
  const values = unflatten(
    theta,
    methods.flatMap((m) => m.trainables),
  );
  const json = (config: Readonly<Record<string, unknown>>): string => `${JSON.stringify(config, null, 2)}\n`;
  const single = methods.length === 1;
  for (const m of methods)
    await writeAdapterFolder(
      single ? folder : join(folder, m.name),
      json(m.files.config(baseModel)),
      m.files.write(values),
    );
  if (single) return;
  const parts = methods.map((m) => m.name);
  const config = { base_model_name_or_path: baseModel, [COMBINATION]: parts };
  await writeAdapterFolder(folder, json(config), new Map());
}

/** Finds an adapter (a folder in PEFT's, our or mlx-lm's format, a run folder, a .gguf file, a Hub id), reads it and fits it
 *  to a model.
 *  @throws NotFoundError, NetworkError, FormatError, UnsupportedError; InputError listing everything that does not fit */
export async function openAdapter(
  name: string,
  shape: ModelShape,
  options: OpenBaseOptions = {},
): Promise<OpenedAdapter> {
  const path = await resolveAdapter(name, accessOf(options));
  const foreign = await readForeignAdapter(path, shape.config);
  const config = foreign?.config ?? (await readAdapterConfig(path));
  const parts = foreign
    ? [foreignPart(foreign, shape, path)]
    : await Promise.all(partFolders(config, path).map((folder) => openPart(folder, shape)));
  const methods = parts.map((p) => p.method);
  const values = new Map(parts.flatMap((p) => [...p.values]));
  const theta = flatten(
    values,
    methods.flatMap((m) => m.trainables),
  );
  return { path, config, warnings: parts.flatMap((p) => p.warnings), methods, theta };
}

/** A base model and an adapter on it. */
export interface AdaptedBase {
  /** An encoder has the adapter's labels. */
  readonly base: BaseModel;
  readonly adapter: OpenedAdapter | null;
}

/** Opens an adapter on a base; null: the base alone. An encoder gets the labels of the adapter's head.
 *  @throws as `openAdapter`; InputError if an encoder has no head, neither by itself nor by the adapter */
export async function adaptBase(
  base: BaseModel,
  name: string | null,
  options: OpenBaseOptions = {},
): Promise<AdaptedBase> {
  const path = name === null ? null : await resolveAdapter(name, accessOf(options));
  const fitted = path === null ? base : await withLabelsOf(base, path);
  const adapter = path === null ? null : await openAdapter(path, fitted, options);
  const trained = new Set(adapter?.methods.flatMap((m) => m.trainables.map((t) => t.name)));
  const missing = fitted.newWeights.filter((weight) => !trained.has(weight));
  if (missing.length === 0) return { base: fitted, adapter };
  const problems = missing.map((weight) => ({
    where: hfTensorName(base.config.family, weight),
    message: `is not in the model${path === null ? "" : " and not in the adapter"}`,
  }));
  throw new InputError(
    `${base.source.name} has no head to classify with; one comes with training:`,
    problems,
  );
}

async function withLabelsOf(base: BaseModel, path: string): Promise<BaseModel> {
  const classifier = await labelsOf(path, base);
  return classifier === null ? base : withClassifier(base, classifier);
}

/** What the head of an encoder tells apart with the adapter in a folder; null for a decoder. @throws FormatError */
export async function labelsOf(path: string, { config, modules }: ModelShape): Promise<Classifier | null> {
  const output = modules.findLast((m) => m.kind === "linear" && m.isOutput);
  if (!config.encoder || !output) return null;
  const outputWeight = hfTensorName(config.family, `${output.path}.weight`);
  return readLabels(path, config.encoder.classifier, outputWeight);
}

function accessOf({ offline = false, cacheFolder, onProgress, signal }: OpenBaseOptions): ResolveOptions {
  return {
    offline,
    ...(cacheFolder === undefined ? {} : { cacheDir: cacheFolder }),
    ...(onProgress ? { onProgress } : {}),
    ...(signal ? { signal } : {}),
  };
}

function partFolders(config: Readonly<Record<string, unknown>>, path: string): string[] {
  const parts = config[COMBINATION];
  if (parts === undefined) return [path];
  if (
    Array.isArray(parts) &&
    parts.length > 0 &&
    parts.every((p) => typeof p === "string" && /^[\w-]+$/.test(p))
  )
    return parts.map((p: string) => join(path, p));
  throw new FormatError(join(path, ADAPTER_CONFIG), `${COMBINATION}: expected a list of method names`);
}

interface Part {
  readonly method: Method;
  readonly values: ReadonlyMap<string, FloatTensor>;
  readonly warnings: readonly string[];
}

async function openPart(path: string, shape: ModelShape): Promise<Part> {
  const opened = openMethod(await readAdapterConfig(path), shape, join(path, ADAPTER_CONFIG));
  const { tensors } = await readAdapterWeights(path);
  return { ...opened, values: opened.method.files.read(tensors, join(path, ADAPTER_WEIGHTS)) };
}

function foreignPart({ config, tensors }: PeftFiles, shape: ModelShape, path: string): Part {
  const opened = openMethod(config, shape, path);
  return { ...opened, values: opened.method.files.read(tensors, path) };
}

import { join } from "node:path";
import { InputError, type Problem } from "../../errors.ts";
import { baseModelOfAdapter, isForeignAdapter, readForeignAdapter } from "../../formats/foreign-adapter.ts";
import type { PeftFiles } from "../../formats/lora-factors.ts";
import type { Classifier } from "../../formats/model.ts";
import { hfTensorName } from "../../formats/names.ts";
import { type BaseIdentity, compareIdentity } from "../../formats/peft/base-identity.ts";
import { ADAPTER_CONFIG, ADAPTER_WEIGHTS, combinationParts } from "../../formats/peft/files.ts";
import {
  baseOfWeights,
  readAdapterConfig,
  readAdapterWeights,
  writeAdapterFolder,
} from "../../formats/peft/folder.ts";
import { readLabels } from "../../formats/peft/labels.ts";
import { type AdapterText, readAdapterText } from "../../formats/peft/text.ts";
import { compareBase } from "../../hub/base-names.ts";
import { resolveAdapter } from "../../hub/resolve.ts";
import { type OpenBaseOptions, resolveOptions } from "../../models/base-model.ts";
import { outputModule } from "../../models/family.ts";
import { textDifference } from "../../models/model-text.ts";
import type { FloatTensor } from "../../tensor/tensor.ts";
import type { Method } from "../method.ts";
import { openMethod } from "../methods/table.ts";
import { baseIdentityOf, type ModelShape } from "../model-shape.ts";
import { flatten } from "../parameters.ts";
import { adapterParts, type OpenedAdapter } from "./parts.ts";

/** How to find an adapter, and what it may be used on. */
export interface OpenAdapterOptions extends OpenBaseOptions {
  /** Also use an adapter that names another model than this as its base. */
  readonly anyBase?: boolean;
}

/** Writes the adapter of trained parameters θ. One method: PEFT's two files, whatever the method. Several: a subfolder each,
 *  and a configuration that lists them. `base` is written with them: an adapter is refused on a model of another architecture. @throws LowrankError ("storage") if the disk fails */
export async function writeMethods(
  folder: string,
  methods: readonly Method[],
  theta: Float32Array,
  baseModel: string | null,
  base: BaseIdentity | null = null,
): Promise<void> {
  for (const { name, config, tensors } of adapterParts(methods, theta, baseModel))
    await writeAdapterFolder(join(folder, name), config, tensors, base);
}

/** Finds an adapter (a folder in PEFT's, our or mlx-lm's format, a run folder, a .gguf file, a Hub id), reads it and fits it
 *  to a model.
 *  @throws NotFoundError, NetworkError, FormatError, UnsupportedError; InputError listing everything that does not fit: the
 *  base that it is for, modules and shapes */
export async function openAdapter(
  name: string,
  shape: ModelShape,
  options: OpenAdapterOptions = {},
): Promise<OpenedAdapter> {
  const { anyBase = false } = options;
  const path = await resolveAdapter(name, resolveOptions(options));
  const named = await baseModelOfAdapter(path);
  const trainedOn = await baseIdentityIn(path);
  const base = anyBase ? FITTING : await checkBase(named, trainedOn, shape, path);
  const { config, parts } = await reading(() => readParts(path, shape), base.problems, path);
  const methods = parts.map((p) => p.method);
  const values = new Map(parts.flatMap((p) => [...p.values]));
  const theta = flatten(
    values,
    methods.flatMap((m) => m.trainables),
  );
  const text = path.endsWith(".gguf") ? null : await readAdapterText(path);
  const warnings = [...base.warnings, ...textNotices(text, shape, path), ...parts.flatMap((p) => p.warnings)];
  return { path, config, trainedOn, warnings, methods, theta, text };
}

/** What a folder in PEFT's format says of its adapter, without its weights. @throws NotFoundError, FormatError, UnsupportedError,
 *  InputError */
export async function adapterOutline(
  path: string,
  shape: ModelShape,
): Promise<Pick<OpenedAdapter, "config" | "methods" | "warnings">> {
  const config = await readAdapterConfig(path);
  const parts = partFolders(config, path).map(async (folder) =>
    openMethod(await readAdapterConfig(folder), shape, join(folder, ADAPTER_CONFIG)),
  );
  const opened = await Promise.all(parts);
  return {
    config,
    methods: opened.map(({ method }) => method),
    warnings: opened.flatMap(({ warnings }) => warnings),
  };
}

/** What is used of an adapter's folder in the place of the model's own. */
function textNotices(text: AdapterText | null, { source }: ModelShape, path: string): string[] {
  const different = text && source?.tokenizer ? textDifference(text, source.tokenizer) : "";
  return different === "" ? [] : [`${path}: brings its own ${different}, used instead of the model's`];
}

/** The base that an adapter says it was trained on; only ours do. */
async function baseIdentityIn(path: string): Promise<BaseIdentity | null> {
  if (await isForeignAdapter(path)) return null;
  for (const folder of partFolders(await readAdapterConfig(path), path)) {
    const base = await baseOfWeights(folder);
    if (base !== null) return base;
  }
  return null;
}

async function readParts(
  path: string,
  shape: ModelShape,
): Promise<Pick<OpenedAdapter, "config"> & { readonly parts: readonly Part[] }> {
  const foreign = await readForeignAdapter(path, shape.config);
  if (foreign) return { config: foreign.config, parts: [foreignPart(foreign, shape, path)] };
  const config = await readAdapterConfig(path);
  return { config, parts: await Promise.all(partFolders(config, path).map((f) => openPart(f, shape))) };
}

interface BaseCheck {
  readonly problems: readonly Problem[];
  readonly warnings: readonly string[];
}

const FITTING: BaseCheck = { problems: [], warnings: [] };

/** Whether the base that an adapter names, and was trained on, is this model. */
async function checkBase(
  named: string | null,
  trainedOn: BaseIdentity | null,
  shape: ModelShape,
  path: string,
): Promise<BaseCheck> {
  const { source, config } = shape;
  const own = baseIdentityOf(shape);
  if (source === undefined || own === null) return FITTING;
  const identity = trainedOn && compareIdentity(trainedOn, own, config.encoder !== undefined);
  if (identity === "same") return FITTING;
  if (trainedOn && identity === "other")
    return otherBase(
      `it was trained on ${trainedOn.architecture}, and ${source.name} is ${own.architecture}`,
    );
  if (named === null || named === "") return FITTING;
  const found = await compareBase(named, source);
  if (found === "other") return otherBase(`it is for ${named}, and the model is ${source.name}`);
  const doubt = `${path}: is for ${named}; its shapes fit ${source.name}, but whether that is the same model cannot be told`;
  return found === "same" ? FITTING : { ...FITTING, warnings: [doubt] };
}

function otherBase(why: string): BaseCheck {
  const message = `${why} (any base is taken with anyBase: true, --any-base)`;
  return { ...FITTING, problems: [{ where: "base model", message }] };
}

/** What `read` gives. @throws InputError of everything that it finds wrong, after the problems that are known already */
async function reading<T>(read: () => Promise<T>, known: readonly Problem[], path: string): Promise<T> {
  const title = `${path}: the adapter does not fit the model`;
  try {
    const result = await read();
    if (known.length === 0) return result;
  } catch (error) {
    if (!(error instanceof InputError) || known.length === 0) throw error;
    throw new InputError(title, [...known, ...error.problems], known.length + error.count);
  }
  throw new InputError(title, known);
}

/** What the head of an encoder tells apart with the adapter in a folder; null for a decoder. @throws FormatError */
export async function labelsOf(path: string, { config, modules }: ModelShape): Promise<Classifier | null> {
  const output = outputModule(modules);
  if (!config.encoder || !output) return null;
  const outputWeight = hfTensorName(config.family, `${output.path}.weight`);
  return readLabels(path, config.encoder.classifier, outputWeight);
}

function partFolders(config: Readonly<Record<string, unknown>>, path: string): string[] {
  return combinationParts(config, path)?.map((part) => join(path, part)) ?? [path];
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

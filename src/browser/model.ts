import { InputError } from "../errors.ts";
import { openGgufSource } from "../formats/gguf/source.ts";
import { openHfSource } from "../formats/hf/source.ts";
import type { ModelSource } from "../formats/model.ts";
import { contextLengthOf, createLoaded, type LoadedModel } from "../generate/loaded.ts";
import type { OnProgress } from "../io/progress.ts";
import { memoryStorage } from "../io/storage/memory-storage.ts";
import type { Storage } from "../io/storage/storage.ts";
import type { BaseModel } from "../models/base.ts";
import { type BaseChoice, baseOf } from "../models/base-of.ts";
import { DEFAULT_ADAPTER } from "../peft/use/chosen.ts";
import { openBrowserRuntime } from "../runtime/browser-runtime.ts";
import type { Runtime } from "../runtime/create-runtime.ts";
import { type BrowserDevice, DEFAULT_BROWSER_DEVICE } from "../runtime/devices/browser-table.ts";
import type { TrainEvent } from "../train/events.ts";
import type { PreviewSpan } from "../train/sample.ts";
import { openStoredAdapter } from "./adapter.ts";
import type { PageData } from "./data.ts";
import { type MergeIntoOptions, mergeInto } from "./merge.ts";
import { type PageTrainOptions, previewRows, trainInPage } from "./train.ts";
import { type PageWeights, pageWeights } from "./weights.ts";

/** How to open a model in a page. */
export interface OpenModelOptions extends BaseChoice {
  /** Its files: a Hugging Face folder (config.json, tokenizer.json, model.safetensors or its shards), or one .gguf file. */
  readonly files: Storage;
  /** What it is called, in the adapters that are trained on it too: a Hub id, where it has one. Default: `files.path`. */
  readonly name?: string | undefined;
  /** Default: WebAssembly. */
  readonly device?: BrowserDevice | undefined;
  /** Threads of WebAssembly; default: all cores where the page is cross-origin isolated, else 1. */
  readonly threads?: number | undefined;
  /** Where converted weights are kept. Default: memory, so that they are converted at every opening. */
  readonly weights?: Storage | undefined;
  /** Address of the folder of ONNX Runtime's .wasm and .mjs files; default: where the bundler put them. */
  readonly assets?: string | undefined;
  readonly onProgress?: OnProgress | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What answers, with adapters by their storages. */
export type PageAnswers = LoadedModel<Storage>;

/** How to answer. */
export interface AnswerOptions {
  /** An adapter's files. Default: the base alone. */
  readonly adapter?: Storage;
  /** Longest text in tokens, prompt included; default: the model's positions, at most 8192. */
  readonly contextLength?: number;
}

/** A model in a page. It computes on the thread that it was opened on, which that blocks: open it in a worker. */
export interface PageModel {
  readonly base: BaseModel;
  readonly device: BrowserDevice;
  readonly threads: number;
  /** Rows as the model reads them, and which of their text is learned. At most `count`. @throws InputError as `train` does */
  preview(data: PageData, options: PageTrainOptions, count: number): Promise<readonly PreviewSpan[][]>;
  /** Fine-tunes, as a stream of the events that Node's `train` gives; the adapter's files are in `output` when `done` comes.
   *  @throws InputError for everything wrong in options or data; TrainingError when training cannot go on */
  train(data: PageData, options: PageTrainOptions, output: Storage): AsyncGenerator<TrainEvent>;
  /** Writes the model with an adapter folded into its weights, as a Hugging Face folder of floats.
   *  @throws UnsupportedError for methods that cannot be merged, encoders, and bases that are kept in fewer bits; LowrankError ("storage") */
  merge(adapter: Storage, output: Storage, options?: MergeIntoOptions): Promise<void>;
  /** The model ready to answer, with an adapter or alone. `close` it before training: it keeps the weights in memory.
   *  @throws as `openStoredAdapter` */
  answers(options?: { readonly adapter?: Storage; readonly contextLength?: number }): Promise<PageAnswers>;
  close(): Promise<void>;
}

/** What a model in a page is made of. */
interface Parts {
  readonly base: BaseModel;
  readonly weights: PageWeights;
  openRuntime(): Promise<Runtime>;
}

/** Opens a model. @throws NotFoundError, FormatError, UnsupportedError, InputError as its files give reason to; RuntimeError */
export async function openModel(options: OpenModelOptions): Promise<PageModel> {
  const { device = DEFAULT_BROWSER_DEVICE, threads, assets, onProgress, signal, files } = options;
  const weights = pageWeights(options.weights ?? memoryStorage());
  const source = await openSource(options);
  const base = await baseOf(source, options, weights.open(source, { onProgress, signal })).finally(
    source.close,
  );
  const openRuntime = (): Promise<Runtime> =>
    openBrowserRuntime({ ...{ device, threads, assets }, weightFiles: weights.files });
  const runtime = await openRuntime(); // what is missing shows now
  const parts: Parts = { base, weights, openRuntime };
  return {
    ...{ base, device, threads: runtime.threads },
    preview: (data, own, count) => previewRows(base, data, own, count),
    train: (data, own, output) => trainApart(parts, data, own, output),
    answers: (choice = {}) => openAnswers(parts, choice),
    merge: (adapter, output, how) =>
      mergeInto({ base, runtime, files, open: () => openSource(options) }, adapter, output, how),
    close: () => runtime.close(),
  };
}

/** A run with an engine of its own, whose memory is free afterwards. */
async function* trainApart(
  { base, openRuntime }: Parts,
  data: PageData,
  options: PageTrainOptions,
  output: Storage,
): AsyncGenerator<TrainEvent> {
  const runtime = await openRuntime();
  try {
    yield* trainInPage({ base, runtime }, data, options, output);
  } finally {
    await runtime.close();
  }
}

async function openAnswers(
  { base, weights, openRuntime }: Parts,
  { adapter, ...room }: AnswerOptions,
): Promise<PageAnswers> {
  const positionCount = contextLengthOf(room, base);
  const opened = adapter === undefined ? null : await openStoredAdapter(adapter, base);
  const runtime = await openRuntime();
  try {
    const { loaded, start } = createLoaded<Storage>({
      ...{ base, positionCount, runtime, createGrammar: null },
      openAdapter: (storage) => openStoredAdapter(storage, base),
      placeMerged: (merged) => weights.placeMerged(merged, base),
    });
    await start({
      opened: new Map(opened ? [[DEFAULT_ADAPTER, opened]] : []),
      factors: new Map(opened ? [[DEFAULT_ADAPTER, 1]] : []),
    });
    return loaded;
  } catch (error) {
    await runtime.close();
    throw error;
  }
}

async function openSource({ files, name = files.path }: OpenModelOptions): Promise<ModelSource> {
  const names = await files.list();
  if (names.includes("config.json")) return openHfSource(files, name);
  const gguf = names.filter((one) => one.toLowerCase().endsWith(".gguf"));
  if (gguf.length === 1) return openGgufSource(await files.open(gguf[0] as string), name);
  const found = gguf.length > 1 ? gguf.join(", ") : names.slice(0, 10).join(", ") || "nothing";
  const message = `expected a Hugging Face folder with config.json, or one .gguf file; found ${found}`;
  throw new InputError("The model cannot be opened", [{ where: name || "files", message }]);
}

import { randomUUID } from "node:crypto";
import { rm } from "node:fs/promises";
import { InputError, LowrankError, type Problem, UnsupportedError } from "../errors.ts";
import type { AdapterText } from "../formats/peft/text.ts";
import type { BaseModel } from "../models/base.ts";
import { type OpenBaseOptions, openBase } from "../models/base-model.ts";
import { withAdapterText } from "../models/model-text.ts";
import { type OpenedAdapter, openAdapter } from "../peft/files/adapter.ts";
import { mergedWeights } from "../peft/merge/weights.ts";
import type { Method } from "../peft/method.ts";
import { type Adaptation, createComposer, structureOf } from "../peft/use/active.ts";
import { textInUse } from "../peft/use/adapted-base.ts";
import { positionRoom } from "../peft/use/adapted-model.ts";
import {
  type AdapterChoice,
  type ChosenAdapters,
  DEFAULT_ADAPTER,
  openChosen,
} from "../peft/use/adapter-choice.ts";
import { type VirtualLayout, virtualCount, virtualLayout, virtualPrompt } from "../peft/virtual-tokens.ts";
import { type ChosenDevice, chooseDevice } from "../runtime/check/choose.ts";
import { DEFAULT_DEVICE, type DeviceChoice } from "../runtime/device.ts";
import { openRuntime, type Runtime } from "../runtime/runtime.ts";
import { floats } from "../tensor/tensor.ts";
import {
  type AdapterState,
  adding,
  type Change,
  checkFree,
  removing,
  replacing,
  resuming,
  suspending,
  using,
  weighing,
} from "./adapters.ts";
import { laneOf } from "./answering.ts";
import { createDecoder, type Decoder } from "./decoder.ts";
import type { Lane } from "./lane.ts";
import { type MergedFile, writeMergedFile } from "./merged-file.ts";
import { type GeneratedPiece, type GenerateRequest, type GenerateResult, generateWith } from "./stream.ts";

/** How to load a model for use. */
export interface LoadModelOptions extends OpenBaseOptions, AdapterChoice {
  /** Alias, folder, .gguf file or Hub id. */
  readonly model: string;
  readonly device?: DeviceChoice;
  readonly threads?: number | null;
  /** Longest text in tokens, prompt included; default: the model's positions, at most 8192. */
  readonly contextLength?: number;
}

/** An adapter that is loaded. */
export interface ActiveAdapter {
  readonly path: string;
  /** Names of its methods, "lora". */
  readonly methods: readonly string[];
  /** adapter_config.json as it stands. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Values that it holds. */
  readonly parameters: number;
  /** Things in its files that were passed over. */
  readonly warnings: readonly string[];
}

/** A model ready to generate. One call at a time: a second waits for the first. */
export interface LoadedModel {
  readonly base: BaseModel;
  /** The adapter in use, of several the first; null where the base is used alone. */
  readonly adapter: ActiveAdapter | null;
  /** Every adapter that is loaded, by name. */
  readonly adapters: Readonly<Record<string, ActiveAdapter>>;
  /** Those in use, and the factor of each; none where the base is used alone. */
  readonly active: Readonly<Record<string, number>>;
  readonly isMerged: boolean;
  /** Streams a continuation; the generator returns a summary. The model is free for the next call when the generator ends:
   *  at its end, with an error, or by `return()`, which leaving a `for await` loop does. */
  generate(request: GenerateRequest): AsyncGenerator<GeneratedPiece, GenerateResult>;
  /** The whole continuation at once. */
  generateText(request: GenerateRequest): Promise<GenerateResult>;
  /** Logits [T][V] after each token of a sequence. @throws InputError for ids that are none, or too many */
  logits(ids: readonly number[]): Promise<Float32Array[]>;
  /** Logits [R][V] for the token after each of R sequences, by one forward pass over all of them side by side.
   *  @throws InputError for ids that are none, or sequences that are empty or too long */
  nextLogits(sequences: readonly (readonly number[])[]): Promise<Float32Array[]>;
  /** Loads a further adapter under a name, without using it; it stays in memory, so that using it reads nothing from disk.
   *  @throws NotFoundError, InputError if it is not there, does not fit, or the name is taken */
  load(name: string, adapter: string): Promise<void>;
  /** Forgets an adapter. Where it was in use, the others are used without it, unmerged. @throws InputError for unknown names */
  unload(name: string): Promise<void>;
  /** Uses one or several of the loaded adapters, each at full strength (none: the base alone). Unmerges.
   *  @throws InputError for unknown names, and adapters that cannot act together; those in use stay then */
  set(names: string | readonly string[]): Promise<void>;
  /** As `set`, with a factor for each: W + Σ factor · update. Only low-rank updates have factors other than 1. Adapters of the
   *  same structure, and other factors, change parameters only: no graph is loaded. @throws as `set` */
  weights(factors: Readonly<Record<string, number>>): Promise<void>;
  /** Uses the base alone, until `enable`. Unmerges. */
  disable(): Promise<void>;
  /** Uses again, unmerged, what was in use before `disable`. */
  enable(): Promise<void>;
  /** Loads an adapter in the place of the one named "default", and uses it alone (null: the base alone). Between adapters of
   *  one shape only the parameters change. Unmerges.
   *  @throws NotFoundError, InputError if it is not there or does not fit; what is in use stays then */
  swap(adapter: string | null): Promise<void>;
  /** Folds what is in use (of several adapters their weighted sum) into a copy of the weights that it changes: no added
   *  latency. @throws UnsupportedError without an adapter, and for methods that cannot be merged */
  merge(): Promise<void>;
  /** Uses base and adapter apart again. The base was kept, so it is restored exactly. */
  unmerge(): Promise<void>;
  /** Ends the engine; what is under way comes first. Calls after it fail, a second close does nothing. */
  close(): Promise<void>;
}

/** Decoders kept loaded: the one in use and the one before it, for switching back and forth. */
const KEPT_DECODERS = 2;

interface LoadedDecoder {
  readonly key: string;
  readonly decoder: Decoder;
  /** Answers by it; it remembers the call before, for prompts that go on from it. */
  readonly lane: Lane;
  /** File of merged weights, removed with the decoder. */
  readonly file: string | null;
}

/** An opened adapter as its users see it. */
export function describeAdapter({ path, methods, config, warnings, theta }: OpenedAdapter): ActiveAdapter {
  return { path, methods: methods.map((m) => m.name), config, parameters: theta.length, warnings };
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
  const positionCount = contextLength(options, base);
  const adapted = await openChosen(options, base, options);
  const runtime = openRuntime({ device: chosen.device, threads: options.threads ?? null });
  try {
    const model = createLoaded(base, runtime, options, positionCount);
    await model.start(adapted);
    return model.loaded;
  } catch (error) {
    await runtime.close();
    throw error;
  }
}

function contextLength(options: LoadModelOptions, base: BaseModel): number {
  const { maxPositions } = base.config;
  const wanted = options.contextLength ?? Math.min(maxPositions, 8192);
  if (Number.isInteger(wanted) && wanted >= 1 && wanted <= maxPositions) return wanted;
  throw new InputError("the model cannot be loaded so", [
    {
      where: "contextLength",
      message: `expected a whole number from 1 to ${maxPositions}, the positions of ${base.source.name}, got ${wanted}`,
    },
  ]);
}

function idProblems(
  where: string,
  ids: readonly number[],
  vocabSize: number,
  positionCount: number,
): Problem[] {
  const problems = ids.flatMap((id, i) =>
    Number.isInteger(id) && id >= 0 && id < vocabSize
      ? []
      : [
          {
            where: `${where}[${i}]`,
            message: `expected a whole number from 0 to ${vocabSize - 1}, got ${id}`,
          },
        ],
  );
  if (ids.length >= 1 && ids.length <= positionCount) return problems;
  return [...problems, { where, message: `expected 1 to ${positionCount} tokens, got ${ids.length}` }];
}

function checkIds(problems: readonly Problem[]): void {
  if (problems.length > 0) throw new InputError("the sequence cannot be scored", problems);
}

function createLoaded(base: BaseModel, runtime: Runtime, options: LoadModelOptions, positionCount: number) {
  const { signal: _ofLoading, ...access } = options;
  const composer = createComposer(base);
  let state: AdapterState = { opened: new Map(), factors: new Map(), suspended: null };
  let current: Adaptation | null = null;
  let isMerged = false;
  let isClosed = false;
  let decoders: LoadedDecoder[] = [];
  let loads = 0;
  let busy: Promise<unknown> = Promise.resolve();
  const voices = new WeakMap<AdapterText, BaseModel>();

  const drop = async (d: LoadedDecoder): Promise<void> => {
    await d.lane.clear();
    await d.decoder.close();
    if (d.file) await rm(d.file, { force: true });
  };

  const load = async (key: string, adapter: Adaptation | null, merged: MergedFile | null) => {
    const { config, family, modules } = base;
    const frozen = merged?.lookup ?? base.decoding;
    const methods = adapter && !merged ? adapter.methods : [];
    const count = roomFor(methods);
    const parts = { config, family, modules, frozen, methods, positionCount: count, rowTokens: count };
    const scope = `${++loads}.`; // several are loaded: each has a cache of its own
    const decoder = await createDecoder(runtime, parts, base.weights.folder, { scope });
    return { key, decoder, lane: laneOf(decoder, 1, 1), file: merged?.path ?? null };
  };

  const loadMerged = async ({ methods, theta }: Adaptation): Promise<LoadedDecoder> => {
    const merged = await writeMergedFile(mergedWeights(methods, theta, base, base.weights, runtime), base);
    try {
      return await load(`merged ${randomUUID()}`, null, merged);
    } finally {
      // The mapping outlives the name, so that nothing stays behind if the process dies; Windows refuses until `drop`.
      await rm(merged.path, { force: true }).catch(() => undefined);
    }
  };

  const use = async (adapter: Adaptation | null, merge: boolean): Promise<void> => {
    const key = adapter === null ? "base" : structureOf(adapter);
    const chosen =
      adapter && merge
        ? await loadMerged(adapter)
        : (decoders.find((d) => d.key === key) ?? (await load(key, adapter, null)));
    if (adapter) await runtime.put({ theta: floats(adapter.theta, [adapter.theta.length]) });
    decoders = [chosen, ...decoders.filter((d) => d !== chosen)];
    current = adapter;
    isMerged = merge;
    for (const old of decoders.splice(KEPT_DECODERS)) await drop(old);
    for (const { lane } of decoders) await lane.clear(); // what it remembers is of other parameters
    await chosen.decoder.takeParameters(); // after the others are gone: theirs have the same names
  };

  /** Makes a change that is complete only once what is then in use is ready; else nothing has changed. */
  const change = async (make: Change): Promise<void> => {
    const next = make(state);
    if (next.factors !== state.factors) await use(composer.compose(next.opened, next.factors), false);
    state = next;
  };

  /** Waits for what is under way (the key-value cache is one), and holds off what comes next until released. */
  const turn = async (): Promise<() => void> => {
    const before = busy;
    let release = (): void => {};
    busy = new Promise<void>((resolve) => {
      release = resolve;
    });
    await before;
    return release;
  };

  const exclusive = async <T>(work: () => Promise<T>): Promise<T> => {
    const release = await turn();
    try {
      return await work();
    } finally {
      release();
    }
  };

  const whileOpen = <T>(work: () => Promise<T>): Promise<T> =>
    exclusive(() => {
      active();
      return work();
    });

  async function* generate(request: GenerateRequest): AsyncGenerator<GeneratedPiece, GenerateResult> {
    const release = await turn();
    try {
      return yield* generateWith(active().lane, speaking(), request, roomFor(methodsInUse()), virtual());
    } finally {
      release();
    }
  }

  const active = (): LoadedDecoder => {
    const [first] = decoders;
    if (!first || isClosed) throw new LowrankError("closed", "the model is closed");
    return first;
  };

  /** The decoder for whole sequences, which forgets what its lane remembers. */
  const scoring = async (): Promise<Decoder> => {
    const { lane, decoder } = active();
    await lane.clear();
    return decoder;
  };

  /** Methods that act beside the weights; a merged model has none. */
  const methodsInUse = (): readonly Method[] => (current && !isMerged ? current.methods : []);

  /** The model with tokenizer and chat template of the adapter in use. */
  const speaking = (): BaseModel => {
    const text = textInUse(state);
    if (text === null) return base;
    const voice = voices.get(text) ?? withAdapterText(base, text);
    voices.set(text, voice);
    return voice;
  };

  const virtual = (): VirtualLayout => virtualLayout(methodsInUse(), base.config.vocabSize);

  /** Longest sequence under some methods, which may take positions for themselves. */
  const roomFor = (methods: readonly Method[]): number =>
    Math.min(positionCount, positionRoom(base.config, methods));

  const loaded: LoadedModel = {
    base,
    get adapter() {
      const [first] = state.factors.keys();
      return first === undefined ? null : describeAdapter(state.opened.get(first) as OpenedAdapter);
    },
    get adapters() {
      return Object.fromEntries([...state.opened].map(([name, adapter]) => [name, describeAdapter(adapter)]));
    },
    get active() {
      return Object.fromEntries(state.factors);
    },
    get isMerged() {
      return isMerged;
    },
    generate,
    generateText: async (request) => {
      const pieces = generate(request);
      for (;;) {
        const next = await pieces.next();
        if (next.done) return next.value;
      }
    },
    logits: (ids) =>
      exclusive(async () => {
        const { prefix } = virtual();
        checkIds(idProblems("ids", ids, base.config.vocabSize, roomFor(methodsInUse()) - prefix.length));
        const logits = await (await scoring()).score([...prefix, ...ids]);
        return logits.slice(prefix.length);
      }),
    nextLogits: (sequences) =>
      whileOpen(async () => {
        const layout = virtual();
        const room = roomFor(methodsInUse()) - virtualCount(layout);
        checkIds([
          ...(sequences.length === 0
            ? [{ where: "sequences", message: "expected at least one, got none" }]
            : []),
          ...sequences.flatMap((ids, r) => idProblems(`sequences[${r}]`, ids, base.config.vocabSize, room)),
        ]);
        return (await scoring()).start(sequences.map((ids) => virtualPrompt(ids, layout)));
      }),
    load: (name, adapter) =>
      whileOpen(async () => {
        checkFree(name, state);
        await change(adding(name, await openAdapter(adapter, base, access)));
      }),
    unload: (name) => whileOpen(() => change(removing(name))),
    set: (names) => whileOpen(() => change(using(names))),
    weights: (factors) => whileOpen(() => change(weighing(factors))),
    disable: () => whileOpen(() => change(suspending)),
    enable: () => whileOpen(() => change(resuming)),
    swap: (adapter) =>
      whileOpen(async () => {
        const opened = adapter === null ? null : await openAdapter(adapter, base, access);
        await change(replacing(DEFAULT_ADAPTER, opened));
      }),
    merge: () =>
      whileOpen(async () => {
        if (!current) throw new UnsupportedError("there is no adapter to merge: swap one in first");
        if (!isMerged) await use(current, true);
      }),
    unmerge: () => whileOpen(() => use(current, false)),
    close: () =>
      exclusive(async () => {
        if (isClosed) return;
        isClosed = true;
        try {
          for (const d of decoders) await drop(d);
        } finally {
          await runtime.close();
        }
      }),
  };
  /** Puts the first adapters in use. */
  const start = async (chosen: ChosenAdapters): Promise<void> => {
    const first = { ...chosen, suspended: null };
    withAdapterText(base, textInUse(first)); // what is wrong with it is told before weights are loaded
    await use(composer.compose(first.opened, first.factors), false);
    state = first;
  };
  return { loaded, start };
}

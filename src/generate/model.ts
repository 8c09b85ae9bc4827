import { randomUUID } from "node:crypto";
import { open, rm } from "node:fs/promises";
import { join } from "node:path";
import { LowrankError, UnsupportedError } from "../errors.ts";
import { readAdapter } from "../formats/peft-adapter.ts";
import type { LoraConfig } from "../formats/peft-config.ts";
import { resolveAdapter } from "../formats/resolve.ts";
import { weight } from "../graph/value.ts";
import type { WeightLookup } from "../models/base-context.ts";
import { type BaseModel, type OpenBaseOptions, openBase } from "../models/base-model.ts";
import { adapterParameters } from "../peft/adapter.ts";
import { type MergedWeights, mergedWeights } from "../peft/delta.ts";
import { type Lora, lora } from "../peft/lora.ts";
import type { Device } from "../runtime/device.ts";
import { openRuntime, type Runtime } from "../runtime/runtime.ts";
import { floats, sizeOf } from "../tensor/tensor.ts";
import { createDecoder, type Decoder } from "./decoder.ts";
import { type GeneratedPiece, type GenerateRequest, type GenerateResult, generateWith } from "./stream.ts";

/** How to load a model for use. */
export interface LoadModelOptions extends OpenBaseOptions {
  /** Alias, folder, .gguf file or Hub id. */
  readonly model: string;
  /** PEFT adapter: a folder, or a Hub id. */
  readonly adapter?: string;
  readonly device?: Device;
  readonly threads?: number | null;
  /** Longest text in tokens, prompt included; default: the model's positions, at most 8192. */
  readonly contextLength?: number;
}

/** An adapter in use. */
export interface ActiveAdapter {
  readonly path: string;
  readonly config: LoraConfig;
  /** Things in its files that were passed over. */
  readonly warnings: readonly string[];
}

/** A model ready to generate. One call at a time: a second waits for the first. */
export interface LoadedModel {
  readonly base: BaseModel;
  /** null where the base is used alone. */
  readonly adapter: ActiveAdapter | null;
  readonly isMerged: boolean;
  /** Streams a continuation; the generator returns a summary. */
  generate(request: GenerateRequest): AsyncGenerator<GeneratedPiece, GenerateResult>;
  /** The whole continuation at once. */
  generateText(request: GenerateRequest): Promise<GenerateResult>;
  /** Logits [T][V] after each token of a sequence. */
  logits(ids: readonly number[]): Promise<Float32Array[]>;
  /** Uses another adapter (null: none) on the same base. Between adapters of one shape only the parameters change. Unmerges.
   *  @throws NotFoundError, InputError if it is not there or does not fit; the adapter in use stays then */
  swap(adapter: string | null): Promise<void>;
  /** Folds the adapter into a copy of the weights that it changes: no added latency. @throws UnsupportedError without one */
  merge(): Promise<void>;
  /** Uses base and adapter apart again. The base was kept, so it is restored exactly. */
  unmerge(): Promise<void>;
  close(): Promise<void>;
}

interface Adaptation {
  readonly active: ActiveAdapter;
  readonly lora: Lora;
  readonly theta: Float32Array;
}

/** Decoders kept loaded: the one in use and the one before it, for switching back and forth. */
const KEPT_DECODERS = 2;

interface LoadedDecoder {
  readonly key: string;
  readonly decoder: Decoder;
  /** File of merged weights, removed with the decoder. */
  readonly file: string | null;
}

async function readAdaptation(path: string, base: BaseModel, offline: boolean): Promise<Adaptation> {
  const folder = await resolveAdapter(path, { offline });
  const file = await readAdapter(folder);
  const adaptation = lora(file.config, base.config.family, base.modules);
  const theta = adapterParameters(adaptation, base.config.family, file, folder);
  return { active: { path: folder, config: file.config, warnings: file.warnings }, lora: adaptation, theta };
}

/** What decides the graph of an adapter: adapters that agree in it share one. */
function structureOf(adaptation: Adaptation | null): string {
  return adaptation === null ? "base" : JSON.stringify([adaptation.lora.plan, adaptation.lora.config.bias]);
}

/** Weights written beside the base's file, as the runtime finds external weights by folder. */
async function writeMerged(
  merged: MergedWeights,
  base: BaseModel,
): Promise<{ lookup: WeightLookup; file: string }> {
  const fileName = `.merged-${randomUUID()}.bin`;
  const path = join(base.weights.folder, fileName);
  const values = new Map<string, ReturnType<typeof weight>>();
  const file = await open(path, "w");
  let offsetBytes = 0;
  try {
    for (const name of merged.paths) {
      const { data, shape } = await merged.read(name);
      const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
      await file.write(bytes, 0, bytes.length, offsetBytes);
      values.set(
        name,
        weight(`merged ${name}`, shape, { fileName, offsetBytes, sizeBytes: 4 * sizeOf(shape) }),
      );
      offsetBytes += Math.ceil(bytes.length / 4096) * 4096;
    }
    await file.truncate(offsetBytes);
  } catch (error) {
    await rm(path, { force: true });
    throw error;
  } finally {
    await file.close();
    await merged.close();
  }
  return { lookup: (name) => values.get(name) ?? base.frozen(name), file: path };
}

/** Opens a model, and an adapter on it, for generation.
 *  @throws as `openBase`, and NotFoundError, InputError, UnsupportedError for the adapter: before the first token */
export async function loadModel(options: LoadModelOptions): Promise<LoadedModel> {
  const base = await openBase(options.model, options);
  const offline = options.offline ?? false;
  const first = options.adapter === undefined ? null : await readAdaptation(options.adapter, base, offline);
  const runtime = openRuntime({
    ...(options.device ? { device: options.device } : {}),
    threads: options.threads ?? null,
  });
  const model = createLoaded(base, runtime, offline, contextLength(options, base));
  try {
    await model.use(first, false);
    return model.loaded;
  } catch (error) {
    await runtime.close();
    throw error;
  }
}

function contextLength(options: LoadModelOptions, base: BaseModel): number {
  const wanted = options.contextLength ?? Math.min(base.config.maxPositions, 8192);
  if (wanted > base.config.maxPositions)
    throw new UnsupportedError(
      `contextLength: expected at most ${base.config.maxPositions}, the positions of ${base.source.name}, got ${wanted}`,
    );
  return wanted;
}

function createLoaded(base: BaseModel, runtime: Runtime, offline: boolean, positionCount: number) {
  let current: Adaptation | null = null;
  let isMerged = false;
  let decoders: LoadedDecoder[] = [];
  let busy: Promise<unknown> = Promise.resolve();

  const drop = async (d: LoadedDecoder): Promise<void> => {
    await d.decoder.close();
    if (d.file) await rm(d.file, { force: true });
  };

  const decoderFor = async (adaptation: Adaptation | null, merge: boolean): Promise<LoadedDecoder> => {
    const key = merge ? `merged ${randomUUID()}` : structureOf(adaptation);
    const known = decoders.find((d) => d.key === key);
    if (known) return known;
    const merged =
      merge && adaptation
        ? await writeMerged(mergedWeights(adaptation.lora, adaptation.theta, base.weights, runtime), base)
        : null;
    const { config, family, modules } = base;
    const frozen = merged?.lookup ?? base.frozen;
    const methods = adaptation && !merged ? [adaptation.lora] : [];
    const parts = { config, family, modules, frozen, methods, positionCount, rowTokens: positionCount };
    const decoder = await createDecoder(runtime, parts, base.weights.folder);
    return { key, decoder, file: merged?.file ?? null };
  };

  const use = async (adaptation: Adaptation | null, merge: boolean): Promise<void> => {
    const chosen = await decoderFor(adaptation, merge);
    if (adaptation) await runtime.put({ theta: floats(adaptation.theta, [adaptation.theta.length]) });
    decoders = [chosen, ...decoders.filter((d) => d !== chosen)];
    for (const old of decoders.splice(KEPT_DECODERS)) await drop(old);
    current = adaptation;
    isMerged = merge;
  };

  /** Waits for what is under way: the key-value cache is one. */
  const exclusive = async <T>(work: () => Promise<T>): Promise<T> => {
    const before = busy;
    let release = (): void => {};
    busy = new Promise<void>((resolve) => {
      release = resolve;
    });
    await before;
    try {
      return await work();
    } finally {
      release();
    }
  };

  async function* generate(request: GenerateRequest): AsyncGenerator<GeneratedPiece, GenerateResult> {
    const before = busy;
    let release = (): void => {};
    busy = new Promise<void>((resolve) => {
      release = resolve;
    });
    await before;
    try {
      return yield* generateWith(active().decoder, base, request, positionCount);
    } finally {
      release();
    }
  }

  const active = (): LoadedDecoder => {
    const first = decoders[0];
    if (!first) throw new LowrankError("closed", "the model is closed");
    return first;
  };

  const loaded: LoadedModel = {
    base,
    get adapter() {
      return current?.active ?? null;
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
    logits: (ids) => exclusive(() => active().decoder.score(ids)),
    swap: (adapter) =>
      exclusive(async () =>
        use(adapter === null ? null : await readAdaptation(adapter, base, offline), false),
      ),
    merge: () =>
      exclusive(async () => {
        if (!current) throw new UnsupportedError("there is no adapter to merge: swap one in first");
        if (!isMerged) await use(current, true);
      }),
    unmerge: () => exclusive(() => use(current, false)),
    close: () =>
      exclusive(async () => {
        for (const d of decoders) await drop(d);
        decoders = [];
        await runtime.close();
      }),
  };
  return { loaded, use };
}

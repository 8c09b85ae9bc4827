import { BusyError, InputError, LowrankError, UnsupportedError } from "../../errors.ts";
import { type Pooling, readPooling } from "../../formats/hf/pooling.ts";
import { poolingOf } from "../../hub/known-names.ts";
import type { BaseModel } from "../../models/base.ts";
import { openBase } from "../../models/base-model.ts";
import { createComposer, structureOf } from "../../peft/use/active.ts";
import { virtualLayout } from "../../peft/virtual-tokens.ts";
import { chooseDevice } from "../../runtime/check/choose.ts";
import { DEFAULT_DEVICE } from "../../runtime/device.ts";
import { openRuntime, type Runtime } from "../../runtime/runtime.ts";
import { createGrammar } from "../grammar.ts";
import { createInbox } from "../inbox.ts";
import { onDevice } from "../model.ts";
import { type GeneratedPiece, type GenerateResult, openContinuation } from "../stream.ts";
import { createEncoderEngine } from "./encoder.ts";
import type { Engine, EngineOptions, EngineRequest } from "./engine.ts";
import { type Chosen, engineModel, openLanes, type Waiting } from "./lanes.ts";
import type { Mixture } from "./pool.ts";
import { adapterCalls, openResidents, type Resident } from "./residents.ts";

const DEFAULTS = { contextLength: 2048, maxBatch: 16, maxQueue: 64 } as const;
/** Adapters in memory at once. */
const RESIDENTS = 64;
/** Opens a base for many requests and adapters: a decoder generates, an encoder makes embeddings.
 *  @throws as `openBase`; InputError for options out of range; FormatError, UnsupportedError for what an encoder's files say of its
 *  embeddings */
export async function openEngine(options: EngineOptions): Promise<Engine> {
  const chosen = await chooseDevice(options.device ?? DEFAULT_DEVICE);
  const base = onDevice(await openBase(options.model, options), chosen);
  const limits = limitsOf(options, base);
  const open = (): Runtime => openRuntime({ device: chosen.device, threads: options.threads ?? null });
  if (base.config.encoder) return openEncoder(base, open, options, limits);
  const runtime = open();
  return createEngine(base, runtime, options, limits);
}

const MEAN: Pooling = { mode: "mean", isNormalized: false, maxLength: null };

async function openEncoder(
  base: BaseModel,
  open: () => Runtime,
  options: EngineOptions,
  limits: Limits,
): Promise<Engine> {
  const { device: _chosen, threads: _used, signal: _ofOpening, ...access } = options;
  const { path, name } = base.source;
  const stated = (path.endsWith(".gguf") ? null : await readPooling(path)) ?? poolingOf(name);
  const pooling = stated ?? MEAN;
  const guess = `${name} does not say how its embeddings are made (modules.json, 1_Pooling): they are the mean over tokens, of any length`;
  return createEncoderEngine({
    base: stated === null ? { ...base, warnings: [...base.warnings, guess] } : base,
    runtime: open(),
    access,
    pooling,
    contextLength:
      options.contextLength ?? Math.min(limits.contextLength, pooling.maxLength ?? limits.contextLength),
    residents: RESIDENTS,
    most: limits.maxBatch + limits.maxQueue,
  });
}

type Limits = { readonly [K in keyof typeof DEFAULTS]: number };

function limitsOf(options: EngineOptions, { config }: BaseModel): Limits {
  const contextLength = options.contextLength ?? Math.min(config.maxPositions, DEFAULTS.contextLength);
  const limits = { ...DEFAULTS, ...given(options, ["maxBatch", "maxQueue"]), contextLength };
  const ranges: Readonly<Record<keyof Limits, readonly [number, number]>> = {
    contextLength: [1, config.maxPositions],
    maxBatch: [1, 1024],
    maxQueue: [0, Number.MAX_SAFE_INTEGER],
  };
  const problems = (Object.keys(ranges) as (keyof Limits)[]).flatMap((where) => {
    const [low, high] = ranges[where];
    const value = limits[where];
    if (Number.isInteger(value) && value >= low && value <= high) return [];
    return [{ where, message: `expected a whole number from ${low} to ${high}, got ${value}` }];
  });
  if (problems.length > 0) throw new InputError("the engine cannot be opened so", problems);
  return limits;
}

function given<T extends object, K extends keyof T>(from: T, keys: readonly K[]): Partial<Pick<T, K>> {
  return Object.fromEntries(
    keys.flatMap((key) => (from[key] === undefined ? [] : [[key, from[key]]])),
  ) as Partial<Pick<T, K>>;
}

function createEngine(base: BaseModel, runtime: Runtime, options: EngineOptions, limits: Limits): Engine {
  const { signal: _ofOpening, ...access } = options;
  const residents = openResidents(base, access, RESIDENTS);
  const composer = createComposer(base);
  const lanes = openLanes(base, runtime, limits, residents.updatedPaths);
  const capacity = limits.maxBatch + limits.maxQueue;
  const queue: Waiting[] = [];
  const open = new Set<Waiting>(); // those that wait and those that are computed
  const totals = { promptTokens: 0, generatedTokens: 0 };
  let wake = (): void => undefined;
  let isClosed = false;
  let failure: unknown = null;

  const chosenBy = async (adapters: Readonly<Record<string, number>> = {}): Promise<Chosen> => {
    const used: { name: string; factor: number; resident: Resident }[] = [];
    for (const [name, factor] of Object.entries(adapters))
      used.push({ name, factor, resident: await residents.get(name) });
    const voice = used.map(({ resident, factor }) => `${resident.id}×${factor}`).join(" + ");
    const speaking = used[0]?.resident.base ?? base;
    const mixture = new Map<NonNullable<Resident["pooled"]>, number>();
    for (const { resident, factor } of used) if (resident.pooled) mixture.set(resident.pooled, factor);
    if (mixture.size === used.length)
      return { mixture: checked(mixture, used), adaptation: null, structure: "", voice, base: speaking };
    const adaptation = composer.compose(
      new Map(used.map(({ name, resident }) => [name, resident.opened])),
      new Map(used.map(({ name, factor }) => [name, factor])),
    );
    const structure = adaptation ? structureOf(adaptation) : "";
    return { mixture: new Map(), adaptation, structure, voice, base: speaking };
  };

  const dropCancelled = (): void => {
    for (const one of queue.filter((waiting) => waiting.isCancelled)) {
      queue.splice(queue.indexOf(one), 1);
      one.end();
    }
  };

  const serve = async (): Promise<void> => {
    while (!isClosed) {
      dropCancelled();
      await lanes.admit(queue);
      const done = await lanes.step();
      totals.promptTokens += done?.prompt ?? 0;
      totals.generatedTokens += done?.generated ?? 0;
      if (done === null && queue.length === 0 && !isClosed)
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
    }
  };
  /** What fails here is no single answer's: everybody is told, and nobody is let in any more. */
  const serving = serve().catch((error: unknown) => {
    failure = error;
    for (const one of open) one.end(error);
  });

  /** @throws BusyError, and where the engine answers no more */
  const checkOpen = (): void => {
    if (failure !== null) throw failure;
    if (isClosed) throw new LowrankError("closed", "the engine is closed");
    if (open.size >= capacity)
      throw new BusyError(`${open.size} requests are computed or wait: try again later`);
  };

  async function* generate(request: EngineRequest): AsyncGenerator<GeneratedPiece, GenerateResult> {
    checkOpen(); // before work that may be for nothing
    const chosen = await chosenBy(request.adapters);
    const methods = chosen.adaptation?.methods ?? [];
    const virtual = virtualLayout(methods, base.config.vocabSize);
    const { positionCount } = engineModel(base, methods, limits.contextLength);
    const continuation = await openContinuation(chosen.base, request, {
      ...{ contextLength: positionCount, virtual, createGrammar },
    });
    try {
      checkOpen();
    } catch (error) {
      continuation.flush(); // ends its grammar
      throw error;
    }
    const inbox = createInbox();
    let isLeft = false;
    const one: Waiting = {
      chosen,
      continuation,
      voice: chosen.voice,
      get isCancelled() {
        return isLeft || request.signal?.aborted === true;
      },
      give: inbox.give,
      end: (error) => {
        open.delete(one);
        try {
          const rest = continuation.flush();
          if (rest && error === undefined) inbox.give(rest);
          inbox.end(error);
        } catch (other) {
          inbox.end(error ?? other);
        }
      },
    };
    open.add(one);
    queue.push(one);
    wake();
    try {
      for await (const piece of inbox.read()) if (piece.text !== "" || piece.logprobs) yield piece;
      return continuation.result();
    } finally {
      isLeft = true;
    }
  }

  return {
    base,
    contextLength: limits.contextLength,
    capacity,
    get adapters() {
      return residents.described;
    },
    get status() {
      return { running: lanes.running, waiting: queue.length, ...totals };
    },
    generate,
    embed: async () => {
      const { source, config } = base;
      throw new UnsupportedError(
        `${source.name} is a decoder (${config.architecture}): it generates text and makes no embeddings; an encoder does (minilm-l6)`,
      );
    },
    ...adapterCalls(base, residents),
    close: async () => {
      isClosed = true;
      wake();
      await serving;
      try {
        await lanes.close();
      } finally {
        for (const one of open) one.end();
        await runtime.close();
      }
    },
  };
}

/** The mixture, whose factors are numbers. @throws InputError */
function checked(
  mixture: Mixture,
  used: readonly { readonly name: string; readonly factor: number }[],
): Mixture {
  const problems = used
    .filter(({ factor }) => !Number.isFinite(factor))
    .map(({ name, factor }) => ({ where: name, message: `expected a finite factor, got ${factor}` }));
  if (problems.length > 0) throw new InputError("these adapters cannot be used so:", problems);
  return mixture;
}

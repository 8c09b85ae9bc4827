import { BusyError, InputError, LowrankError, UnsupportedError } from "../../errors.ts";
import type { BaseModel } from "../../models/base.ts";
import { openBase } from "../../models/base-model.ts";
import { type Adaptation, createComposer } from "../../peft/use/active.ts";
import type { AdaptedModel } from "../../peft/use/adapted-model.ts";
import { positionRoom } from "../../peft/use/adapted-model.ts";
import { virtualLayout } from "../../peft/virtual-tokens.ts";
import { checkDevice, DEFAULT_DEVICE } from "../../runtime/device.ts";
import { openRuntime, type Runtime } from "../../runtime/runtime.ts";
import { floats } from "../../tensor/tensor.ts";
import { openCache } from "../cache.ts";
import { loadDecoding } from "../decoding.ts";
import { createInbox } from "../inbox.ts";
import { type Answer, createLane, type Lane } from "../lane.ts";
import { onDevice } from "../model.ts";
import { type GeneratedPiece, type GenerateResult, openContinuation } from "../stream.ts";
import type { Engine, EngineOptions, EngineRequest } from "./engine.ts";
import { type Mixture, openPool } from "./pool.ts";
import { openResidents, type Resident } from "./residents.ts";

const DEFAULTS = { contextLength: 2048, maxBatch: 16, maxQueue: 64 } as const;
/** Of each lane. Prompts come in small pieces, so that those who are answered do not wait long. */
const ROWS = { keptRows: 4, piece: 64 } as const;
/** Adapters in memory at once. */
const RESIDENTS = 64;
/** Lanes of adapters that have a graph of their own, kept while they are idle. */
const KEPT_LANES = 2;
/** Name of the lane of the base and of adapters that act row by row. */
const SHARED = "";

/** Adapters of a request. */
interface Chosen {
  readonly mixture: Mixture;
  /** With a graph of their own; null where they act row by row. */
  readonly adaptation: Adaptation | null;
  /** The lane that computes it. */
  readonly lane: string;
  /** What tells apart those under which equal tokens have other keys and values. */
  readonly voice: string;
  /** Tokenizer and template. */
  readonly base: BaseModel;
}

/** An answer, and the lane and adapters that compute it. */
interface Waiting extends Answer {
  readonly chosen: Chosen;
}

/** Opens a base for many requests and adapters.
 *  @throws as `openBase`; UnsupportedError for an encoder, InputError for options out of range */
export async function openEngine(options: EngineOptions): Promise<Engine> {
  const { device = DEFAULT_DEVICE, threads = null } = options;
  checkDevice(device);
  const base = onDevice(await openBase(options.model, options), device);
  if (base.config.encoder)
    throw new UnsupportedError(
      `${base.source.name} is an encoder (${base.config.architecture}): it generates no text`,
    );
  const limits = limitsOf(options, base);
  const runtime = openRuntime({ device, threads });
  return createEngine(base, runtime, options, limits);
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
  const lanes = new Map<string, { readonly lane: Lane; usedAt: number }>();
  const queue: Waiting[] = [];
  const open = new Set<Waiting>(); // those that wait and those that are computed
  const totals = { promptTokens: 0, generatedTokens: 0 };
  let wake = (): void => undefined;
  let isClosed = false;
  let clock = 0;

  const modelOf = (methods: AdaptedModel["methods"]): AdaptedModel => {
    const { config, family, modules, decoding } = base;
    const positionCount = Math.min(limits.contextLength, positionRoom(config, methods));
    return { config, family, modules, frozen: decoding, methods, positionCount, rowTokens: positionCount };
  };

  const sharedLane = (): Lane => {
    const pool = openPool(runtime, modelOf([]), base.weights.folder, residents.updatedPaths);
    const mixtures = (answers: readonly Answer[]): Mixture[] =>
      answers.map((answer) => (answer as Waiting).chosen.mixture);
    return createLane({
      cache: openCache(runtime, base.config),
      ...ROWS,
      rows: limits.maxBatch,
      prepare: (answers, all) => pool.prepare(mixtures(answers), mixtures(all)),
      release: () => pool.close(),
    });
  };

  const ownLane = async (scope: string, { methods, theta }: Adaptation): Promise<Lane> => {
    const decoding = await loadDecoding(runtime, modelOf(methods), base.weights.folder, { scope });
    await runtime.put({ theta: floats(theta, [theta.length]) });
    await decoding.takeParameters(); // before another lane puts its own
    return createLane({
      cache: openCache(runtime, base.config, scope),
      ...ROWS,
      rows: limits.maxBatch,
      prepare: async () => ({ decoding, feeds: {} }),
      release: () => decoding.close(),
    });
  };

  const laneOf = async ({ lane: name, adaptation }: Chosen): Promise<Lane> => {
    const found = lanes.get(name)?.lane ?? (adaptation ? await ownLane(name, adaptation) : sharedLane());
    lanes.set(name, { lane: found, usedAt: ++clock });
    const idle = [...lanes].filter(([key, { lane }]) => key !== SHARED && key !== name && lane.running === 0);
    idle.sort(([, a], [, b]) => b.usedAt - a.usedAt);
    for (const [key, { lane }] of idle.slice(KEPT_LANES)) {
      lanes.delete(key);
      await lane.close();
    }
    return found;
  };

  const chosenBy = async (adapters: Readonly<Record<string, number>> = {}): Promise<Chosen> => {
    const used: { name: string; factor: number; resident: Resident }[] = [];
    for (const [name, factor] of Object.entries(adapters))
      used.push({ name, factor, resident: await residents.get(name) });
    const voice = used.map(({ resident, factor }) => `${resident.id}×${factor}`).join(" + ");
    const speaking = used[0]?.resident.base ?? base;
    const mixture = new Map<NonNullable<Resident["pooled"]>, number>();
    for (const { resident, factor } of used) if (resident.pooled) mixture.set(resident.pooled, factor);
    if (mixture.size === used.length)
      return { mixture: checked(mixture, used), adaptation: null, lane: SHARED, voice, base: speaking };
    const adaptation = composer.compose(
      new Map(used.map(({ name, resident }) => [name, resident.opened])),
      new Map(used.map(({ name, factor }) => [name, factor])),
    );
    return { mixture: new Map(), adaptation, lane: `${voice} `, voice, base: speaking };
  };

  const runningCount = (): number => [...lanes.values()].reduce((n, { lane }) => n + lane.running, 0);

  /** Gives places to those that wait, the first first. */
  const admit = async (): Promise<void> => {
    for (const one of queue.filter((waiting) => waiting.isCancelled)) {
      queue.splice(queue.indexOf(one), 1);
      one.end();
    }
    while (queue.length > 0 && runningCount() < limits.maxBatch) {
      const next = queue.shift() as Waiting;
      try {
        await (await laneOf(next.chosen)).admit(next);
      } catch (error) {
        next.end(error);
      }
    }
  };

  const serve = async (): Promise<void> => {
    while (!isClosed) {
      await admit();
      const busy = [...lanes.values()].filter(({ lane }) => lane.running > 0);
      for (const { lane } of busy) {
        const { prompt, generated } = await lane.step();
        totals.promptTokens += prompt;
        totals.generatedTokens += generated;
      }
      if (busy.length === 0 && queue.length === 0 && !isClosed)
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
    }
  };
  const serving = serve();

  async function* generate(request: EngineRequest): AsyncGenerator<GeneratedPiece, GenerateResult> {
    const chosen = await chosenBy(request.adapters);
    if (isClosed) throw new LowrankError("closed", "the engine is closed");
    const methods = chosen.adaptation?.methods ?? [];
    const virtual = virtualLayout(methods, base.config.vocabSize);
    const { positionCount } = modelOf(methods);
    const continuation = await openContinuation(chosen.base, request, positionCount, virtual);
    if (open.size >= limits.maxBatch + limits.maxQueue)
      throw new BusyError(`${open.size} requests are computed or wait: try again later`);
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
        const rest = error === undefined ? continuation.flush() : null;
        if (rest) inbox.give(rest);
        inbox.end(error);
        open.delete(one);
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
    get adapters() {
      return residents.described;
    },
    get status() {
      return { running: runningCount(), waiting: queue.length, ...totals };
    },
    generate,
    speaking: async (adapters = {}) => {
      const [first] = Object.keys(adapters);
      return first === undefined ? base : (await residents.get(first)).base;
    },
    loadAdapter: (name, path) => residents.load(name, path),
    unloadAdapter: async (name) => residents.unload(name),
    close: async () => {
      isClosed = true;
      wake();
      await serving;
      for (const { lane } of lanes.values()) await lane.close();
      for (const one of queue.splice(0)) one.end();
      await runtime.close();
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

import type { BaseModel } from "../../models/base.ts";
import type { Adaptation } from "../../peft/use/active.ts";
import { type AdaptedModel, positionRoom } from "../../peft/use/adapted-model.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { floats } from "../../tensor/tensor.ts";
import { openCache } from "../cache.ts";
import { loadDecoding } from "../decoding.ts";
import { type Answer, createLane, type Lane } from "../lane.ts";
import { type Mixture, openPool } from "./pool.ts";

/** Adapters of a request. */
export interface Chosen {
  readonly mixture: Mixture;
  /** With a graph of their own; null where they act row by row. */
  readonly adaptation: Adaptation | null;
  /** What those with one graph have in common: `structureOf` the adaptation; "" where there is none. */
  readonly structure: string;
  /** What tells apart those under which equal tokens have other keys and values. */
  readonly voice: string;
  /** The base with their tokenizer and chat template. */
  readonly base: BaseModel;
}

/** An answer, and the adapters that it is given by. */
export interface Waiting extends Answer {
  readonly chosen: Chosen;
}

/** What computes the answers of an engine: those of the base and of adapters that act row by row together, others by a graph of their
 *  own, in turn with them. */
export interface Lanes {
  /** Answers that are computed. */
  readonly running: number;
  /** Gives places to those that wait, the first first, and takes them out of the queue. */
  admit(queue: Waiting[]): Promise<void>;
  /** A step of every lane that has answers. Returns the tokens computed; null where there is nothing to do. */
  step(): Promise<{ readonly prompt: number; readonly generated: number } | null>;
  close(): Promise<void>;
}

/** A lane of adapters of one structure: one of them at a time. */
interface OwnLane {
  readonly lane: Lane;
  readonly use: (adaptation: Adaptation) => Promise<void>;
  voice: string;
  usedAt: number;
}

/** Of each lane. Prompts come in small pieces, so that those who are answered do not wait long. */
const ROWS = { keptRows: 4, piece: 64 } as const;
/** Lanes of adapters that have a graph of their own, kept while they are idle. */
const KEPT_LANES = 2;

/** The model that graphs are built from. */
export function engineModel(
  { config, family, modules, decoding }: BaseModel,
  methods: AdaptedModel["methods"],
  contextLength: number,
): AdaptedModel {
  const positionCount = Math.min(contextLength, positionRoom(config, methods));
  return { config, family, modules, frozen: decoding, methods, positionCount, rowTokens: positionCount };
}

/** Lanes with nothing in them. `updatedPaths`: as `openPool` takes them. */
export function openLanes(
  base: BaseModel,
  runtime: Runtime,
  limits: { readonly contextLength: number; readonly maxBatch: number },
  updatedPaths: () => Iterable<string>,
): Lanes {
  const { folder } = base.weights;
  const rows = limits.maxBatch;
  const modelOf = (methods: AdaptedModel["methods"]) => engineModel(base, methods, limits.contextLength);
  const own = new Map<string, OwnLane>();
  let opened = 0;
  let clock = 0;

  const pool = openPool(runtime, modelOf([]), folder, updatedPaths);
  const mixtures = (answers: readonly Answer[]): Mixture[] =>
    answers.map((answer) => (answer as Waiting).chosen.mixture);
  const shared = createLane({
    cache: openCache(runtime, base.config),
    ...ROWS,
    rows,
    prepare: (answers, all) => pool.prepare(mixtures(answers), mixtures(all)),
    release: () => pool.close(),
  });

  const openOwn = async ({ methods }: Adaptation): Promise<OwnLane> => {
    const scope = `own${++opened}.`;
    const decoding = await loadDecoding(runtime, modelOf(methods), folder, { scope });
    const lane = createLane({
      cache: openCache(runtime, base.config, scope),
      ...ROWS,
      rows,
      prepare: async () => ({ decoding, feeds: {} }),
      release: () => decoding.close(),
    });
    const use = async ({ theta }: Adaptation): Promise<void> => {
      await runtime.put({ theta: floats(theta, [theta.length]) });
      await decoding.takeParameters(); // before another lane puts its own
    };
    return { lane, use, voice: "", usedAt: 0 };
  };

  const closeIdle = async (): Promise<void> => {
    const idle = [...own].filter(([, { lane }]) => lane.running === 0);
    idle.sort(([, a], [, b]) => b.usedAt - a.usedAt);
    for (const [key, { lane }] of idle.slice(KEPT_LANES)) {
      own.delete(key);
      await lane.close();
    }
  };

  /** The lane for an answer, ready for its adapters; null where others have to end first. */
  const laneFor = async (key: string, adaptation: Adaptation, voice: string): Promise<Lane | null> => {
    const found = own.get(key) ?? (await openOwn(adaptation));
    own.set(key, found);
    found.usedAt = ++clock;
    if (found.voice === voice) return found.lane;
    if (found.lane.running > 0) return null;
    found.voice = "";
    await found.use(adaptation);
    found.voice = voice;
    return found.lane;
  };

  const all = (): readonly Lane[] => [shared, ...Array.from(own.values(), ({ lane }) => lane)];
  const running = (): number => all().reduce((n, lane) => n + lane.running, 0);

  return {
    get running() {
      return running();
    },
    admit: async (queue) => {
      const blocked = new Set<string>(); // nobody overtakes who waits for the same lane
      let hasOpened = false;
      for (const next of [...queue]) {
        if (running() >= rows) break;
        const { adaptation, structure: key, voice } = next.chosen;
        const isNew = adaptation !== null && !own.has(key);
        if (blocked.has(key) || (isNew && hasOpened)) continue; // a graph takes its time: one between two steps
        hasOpened ||= isNew;
        try {
          const lane = adaptation ? await laneFor(key, adaptation, voice) : shared;
          if (!lane) {
            blocked.add(key);
            continue;
          }
          queue.splice(queue.indexOf(next), 1);
          await lane.admit(next);
        } catch (error) {
          const at = queue.indexOf(next);
          if (at >= 0) queue.splice(at, 1);
          next.end(error);
        }
      }
      await closeIdle();
    },
    step: async () => {
      const busy = all().filter((lane) => lane.running > 0);
      if (busy.length === 0) return null;
      const sum = { prompt: 0, generated: 0 };
      for (const lane of busy) {
        const { prompt, generated } = await lane.step();
        sum.prompt += prompt;
        sum.generated += generated;
      }
      return sum;
    },
    close: async () => {
      for (const lane of all()) await lane.close();
    },
  };
}

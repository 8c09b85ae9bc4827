import { BusyError, InputError, LowrankError, UnsupportedError } from "../../errors.ts";
import type { Pooling } from "../../formats/hf/pooling.ts";
import type { BaseModel } from "../../models/base.ts";
import type { OpenAdapterOptions } from "../../peft/files/adapter.ts";
import { type Adaptation, createComposer, structureOf } from "../../peft/use/active.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { floats } from "../../tensor/tensor.ts";
import { embedInputs } from "../embed-inputs.ts";
import { createEmbedder, type Embedder } from "../embedder.ts";
import type { EmbedRequest, EmbedResult, Engine } from "./engine.ts";
import { adapterCalls, openResidents, type Resident } from "./residents.ts";

/** Texts that are run side by side. */
const BATCH = 32;
/** Graphs of adapters of other structures that are kept. */
const KEPT_GRAPHS = 4;

/** What an engine over an encoder is made of. */
export interface EncoderParts {
  readonly base: BaseModel;
  readonly runtime: Runtime;
  readonly access: OpenAdapterOptions;
  readonly pooling: Pooling;
  /** Tokens of a text, special ones included. */
  readonly contextLength: number;
  /** Adapters in memory. */
  readonly residents: number;
  /** Requests under way and in the queue. */
  readonly most: number;
}

/** An engine over an encoder: it makes vectors, a batch of texts at a time, of one request after the other. */
export function createEncoderEngine(parts: EncoderParts): Engine {
  const { base, contextLength, most } = parts;
  const residents = openResidents(base, parts.access, parts.residents);
  const graphs = graphsOf(parts);
  const totals = { promptTokens: 0, generatedTokens: 0 };
  let open = 0;
  let isClosed = false;
  let work: Promise<unknown> = Promise.resolve();

  /** One at a time; what fails is its own affair. */
  const inTurn = <T>(make: () => Promise<T>): Promise<T> => {
    const result = work.then(make);
    work = result.catch(() => undefined);
    return result;
  };
  const embed = async ({ inputs, adapters = {}, signal }: EmbedRequest): Promise<EmbedResult> => {
    const resident = await onlyOne(adapters, (name) => residents.get(name));
    const speaking = resident?.base ?? base;
    const sequences = embedInputs(speaking, inputs, contextLength);
    const adaptation = adaptationOf(resident, adapters, speaking);
    // Of like length side by side, so that little is computed for nothing.
    const lengthAt = (i: number): number => sequences[i]?.ids.length ?? 0;
    const order = sequences.map((_, i) => i).sort((a, b) => lengthAt(a) - lengthAt(b));
    const vectors = new Array<Float32Array>(inputs.length);
    for (let at = 0; at < order.length; at += BATCH) {
      const group = order.slice(at, at + BATCH);
      const made = await inTurn(async () => {
        signal?.throwIfAborted();
        if (isClosed) throw new LowrankError("closed", "the engine is closed");
        const embedder = await graphs.ready(
          speaking,
          adaptation,
          `${resident?.id}×${Object.values(adapters)}`,
        );
        return embedder.embed(group.map((i) => sequences[i] as (typeof sequences)[number]));
      });
      made.forEach((vector, k) => {
        vectors[group[k] as number] = vector;
      });
    }
    const promptTokens = sequences.reduce((n, { ids }) => n + ids.length, 0);
    totals.promptTokens += promptTokens;
    return { vectors, promptTokens };
  };

  return {
    base,
    contextLength,
    capacity: most,
    get adapters() {
      return residents.described;
    },
    get status() {
      return { running: Math.min(open, 1), waiting: Math.max(0, open - 1), ...totals };
    },
    // biome-ignore lint/correctness/useYield: it says what it cannot do.
    async *generate() {
      throw new UnsupportedError(
        `${base.source.name} is an encoder (${base.config.architecture}): it generates no text; it makes embeddings`,
      );
    },
    embed: async (request) => {
      if (open >= most) throw new BusyError(`${open} requests are computed or wait: try again later`);
      open++;
      return embed(request).finally(() => {
        open--;
      });
    },
    ...adapterCalls(base, residents),
    close: async () => {
      isClosed = true;
      await inTurn(graphs.close);
      await parts.runtime.close();
    },
  };
}

async function onlyOne(
  adapters: Readonly<Record<string, number>>,
  get: (name: string) => Promise<Resident>,
): Promise<Resident | null> {
  const names = Object.keys(adapters);
  const message = `expected one adapter, got ${names.length}: each brings a head of its own to an encoder`;
  if (names.length > 1)
    throw new InputError("these adapters cannot be used so:", [{ where: names.join(", "), message }]);
  return names[0] === undefined ? null : get(names[0]);
}

function adaptationOf(
  resident: Resident | null,
  adapters: Readonly<Record<string, number>>,
  base: BaseModel,
): Adaptation | null {
  const [entry] = Object.entries(adapters);
  if (resident === null || entry === undefined) return null;
  const [name, factor] = entry;
  const { opened } = resident;
  if (opened.methods.some(({ virtualTokens }) => virtualTokens !== null))
    throw new UnsupportedError(
      `${name} puts tokens of its own into the text: embeddings with it are not supported`,
    );
  return createComposer(base).compose(new Map([[name, opened]]), new Map([[name, factor]]));
}

/** Graphs by the structure of what adapts them, and whose parameters are in place. */
function graphsOf({ runtime, pooling, base: { weights } }: EncoderParts): {
  ready(base: BaseModel, adaptation: Adaptation | null, voice: string): Promise<Embedder>;
  close(): Promise<void>;
} {
  const graphs = new Map<string, Embedder>();
  let inPlace = "";
  return {
    ready: async (base, adaptation, voice) => {
      const { config, family, modules, frozen } = base;
      const key = JSON.stringify([
        adaptation && structureOf(adaptation),
        config.encoder?.classifier.labels.length,
      ]);
      const { maxPositions } = config;
      const sizes = { positionCount: maxPositions, rowTokens: BATCH * maxPositions };
      const model = { config, family, modules, frozen, methods: adaptation?.methods ?? [], ...sizes };
      const found = graphs.get(key) ?? (await createEmbedder(runtime, model, weights.folder, pooling));
      graphs.delete(key);
      graphs.set(key, found);
      for (const [old, graph] of [...graphs].slice(0, -KEPT_GRAPHS)) {
        graphs.delete(old);
        await graph.close();
      }
      if (adaptation !== null && voice !== inPlace) {
        inPlace = "";
        await runtime.put({ theta: floats(adaptation.theta, [adaptation.theta.length]) });
        inPlace = voice;
      }
      return found;
    },
    close: async () => {
      for (const graph of graphs.values()) await graph.close();
    },
  };
}

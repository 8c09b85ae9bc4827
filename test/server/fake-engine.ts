import { setTimeout as delay } from "node:timers/promises";
import { BusyError, NotFoundError, UnsupportedError } from "../../src/errors.ts";
import type { Engine, EngineRequest } from "../../src/generate/engine/engine.ts";
import type { ActiveAdapter } from "../../src/generate/loaded.ts";
import type { GeneratedPiece, GenerateResult } from "../../src/generate/stream.ts";
import type { BaseModel } from "../../src/models/base.ts";
import { type App, createApp } from "../../src/server/app.ts";
import { type ServerParts, serverParts } from "../../src/server/parts.ts";
import { toolCallForm } from "../../src/text/tool-call-forms.ts";

/** What a fake engine answers, and how many at a time. */
export interface FakeOptions {
  /** Pieces of the answer; an Error among them is thrown in its place. */
  readonly answer?: (request: EngineRequest) => readonly (string | Error)[];
  /** Thrown before the first piece. */
  readonly refuse?: (request: EngineRequest) => Error | null;
  readonly pieceMs?: number;
  readonly maxBatch?: number;
  readonly maxQueue?: number;
  readonly adapters?: readonly string[];
  /** Pieces are tokens with log-probabilities, which are their numbers below 0. */
  readonly withLogprobs?: boolean;
  /** Text of a chat template: how the model writes calls of tools. */
  readonly template?: string;
}

export interface FakeEngine extends Engine {
  /** Every request that it was asked. */
  readonly asked: EngineRequest[];
  /** Pieces that were taken from it, all requests together. */
  readonly taken: number;
  /** Paths of adapters that were loaded, by name. */
  readonly loaded: Map<string, string>;
}

/** An engine without a model: it answers "Hello, world!" in three pieces, or as it is told to. */
export function fakeEngine(options: FakeOptions = {}): FakeEngine {
  const { answer = () => ["Hello", ", ", "world!"], refuse = () => null, pieceMs = 0 } = options;
  const { maxBatch = 16, maxQueue = 64 } = options;
  const asked: EngineRequest[] = [];
  const loaded = new Map((options.adapters ?? []).map((name) => [name, `/adapters/${name}`]));
  const queue: (() => void)[] = [];
  let [running, taken] = [0, 0];

  const place = async (signal: AbortSignal | undefined): Promise<void> => {
    if (running < maxBatch) {
      running++;
      return;
    }
    if (queue.length >= maxQueue) throw new BusyError(`${maxQueue} requests wait already`);
    await new Promise<void>((resolve) => {
      queue.push(resolve);
      signal?.addEventListener("abort", () => {
        const at = queue.indexOf(resolve);
        if (at < 0) return;
        queue.splice(at, 1);
        running++; // it leaves at once
        resolve();
      });
    });
  };
  const leave = (): void => {
    const next = queue.shift();
    if (next) next();
    else running--;
  };

  async function* generate(request: EngineRequest): AsyncGenerator<GeneratedPiece, GenerateResult> {
    asked.push(request);
    const refused = refuse(request);
    if (refused) throw refused;
    await place(request.signal);
    try {
      let text = "";
      const ids: number[] = [];
      for (const piece of answer(request)) {
        if (pieceMs > 0) await delay(pieceMs);
        else await delay(0);
        if (request.signal?.aborted) return summary(text, ids, "aborted");
        if (piece instanceof Error) throw piece;
        taken++;
        text += piece;
        ids.push(ids.length);
        const id = ids.length - 1;
        const logprobs = [{ id, text: piece, logprob: -id, bytes: new TextEncoder().encode(piece), top: [] }];
        yield { text: piece, id, ...(options.withLogprobs ? { logprobs } : {}) };
        if (ids.length === request.maxTokens) return summary(text, ids, "length");
      }
      return summary(text, ids, "end");
    } finally {
      leave();
    }
  }

  const base = fakeBase(options.template ?? "");
  return {
    base,
    speaking: async () => base,
    contextLength: 128,
    capacity: maxBatch + maxQueue,
    get adapters() {
      return Object.fromEntries([...loaded].map(([name, path]) => [name, described(path)]));
    },
    get status() {
      return { running, waiting: queue.length, promptTokens: 3 * asked.length, generatedTokens: taken };
    },
    generate,
    embed: async () => {
      throw new UnsupportedError("tiny is a decoder");
    },
    loadAdapter: async (name, path) => {
      loaded.set(name, path);
    },
    announceAdapter: async (name, path) => {
      loaded.set(name, path);
    },
    unloadAdapter: async (name) => {
      if (!loaded.delete(name)) throw new NotFoundError(`no adapter ${name}`);
    },
    close: async () => undefined,
    asked,
    get taken() {
      return taken;
    },
    loaded,
  };
}

function summary(
  text: string,
  ids: readonly number[],
  finishReason: GenerateResult["finishReason"],
): GenerateResult {
  return { text, ids, finishReason, promptTokens: 3, elapsedMs: 1 };
}

function described(path: string): ActiveAdapter {
  return { path, methods: ["lora"], config: {}, parameters: 1, warnings: [] };
}

function fakeBase(template: string): BaseModel {
  return { eosIds: [], template: { toolCalls: toolCallForm(template) } } as unknown as BaseModel;
}

/** A server over a fake engine, and what asks it. */
export interface FakeServer {
  readonly app: App;
  readonly engine: FakeEngine;
  post(path: string, body: unknown, headers?: Record<string, string>): Promise<Response>;
}

export function fakeServer(options: FakeOptions = {}, parts: Partial<ServerParts> = {}): FakeServer {
  const engine = fakeEngine(options);
  const app = createApp(serverParts({ engine, baseName: "tiny", ...parts }));
  const post = async (path: string, body: unknown, headers: Record<string, string> = {}): Promise<Response> =>
    app.request(path, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: typeof body === "string" ? body : JSON.stringify(body),
    });
  return { app, engine, post };
}

export const HELLO: { readonly model: string; readonly messages: readonly unknown[] } = {
  model: "tiny",
  messages: [{ role: "user", content: "Hi" }],
};

/** Data of the events of a stream. */
export async function eventsOf(response: Response): Promise<unknown[]> {
  const text = await response.text();
  return text
    .split("\n\n")
    .filter((event) => event !== "")
    .map((event) => event.split("\n").find((line) => line.startsWith("data: ")) as string)
    .map((line) => line.slice("data: ".length))
    .map((data) => (data === "[DONE]" ? data : JSON.parse(data)));
}

/** The body of an error. */
export async function errorIn(
  response: Response,
): Promise<{ message: string; type: string; param: string | null; code: string }> {
  return ((await response.json()) as { error: Awaited<ReturnType<typeof errorIn>> }).error;
}

import { Worker } from "node:worker_threads";
import { RuntimeError } from "../errors.ts";
import type { AnswerForm } from "./answer-form.ts";
import type { GrammarReply, GrammarRequest, GrammarTokens } from "./grammar-protocol.ts";

/** What the library says against a form, or a token. */
export class GrammarRefusal extends RuntimeError {}

/** The thread that compiles grammars and follows answers. */
export interface GrammarThread {
  /** Makes tokens known. Returns their number. */
  addTokens(given: GrammarTokens): number;
  /** Forgets tokens, and what was compiled for them. */
  forget(tokens: number): void;
  /** Begins an answer. Its number, and the tokens that it may begin with. What is aborted is not compiled.
   *  @throws GrammarRefusal; RuntimeError where the thread is gone */
  begin(
    tokens: number,
    form: AnswerForm,
    signal?: AbortSignal,
  ): Promise<{ readonly matcher: number; readonly mask: Int32Array }>;
  /** Takes the token that came next. The tokens that may follow; null after the last one. */
  accept(matcher: number, id: number): Promise<Int32Array | null>;
  end(matcher: number): void;
}

// Sources run under a TypeScript loader in tests, but a worker thread needs JavaScript: the built file then.
const SOURCE = /src\/generate\/grammar-thread\.ts$/;

function newWorker(): Worker {
  const here = import.meta.url;
  if (SOURCE.test(here)) return new Worker(new URL(here.replace(SOURCE, "dist/generate/grammar-worker.js")));
  return new Worker(new URL("./grammar-worker.js", import.meta.url)); // as bundlers find a worker: in these words alone
}

interface Waiting {
  resolve(mask: Int32Array | null): void;
  reject(error: Error): void;
}

/** Starts a thread. An idle one does not keep the process alive. `onExit`: it is gone. */
export function startGrammarThread(onExit: () => void): GrammarThread {
  const worker = newWorker();
  const waiting = new Map<number, Waiting>();
  let numbers = 0;
  let dead: string | null = null;

  const fail = (reason: string): void => {
    dead ??= reason;
    for (const { reject } of waiting.values()) reject(new RuntimeError(dead));
    waiting.clear();
    worker.unref();
    onExit();
  };
  worker.on("message", (reply: GrammarReply) => {
    const one = waiting.get(reply.matcher);
    waiting.delete(reply.matcher);
    if (waiting.size === 0) worker.unref();
    if ("error" in reply) one?.reject(new GrammarRefusal(reply.error));
    else one?.resolve(reply.mask);
  });
  worker.on("error", (error) => fail(`the thread of grammars failed: ${error.message}`));
  worker.on("exit", () => fail("the thread of grammars is gone"));
  worker.unref();

  const send = (request: GrammarRequest): void => worker.postMessage(request);
  const ask = (request: GrammarRequest & { readonly matcher: number }): Promise<Int32Array | null> =>
    new Promise((resolve, reject) => {
      if (dead !== null) return reject(new RuntimeError(dead));
      waiting.set(request.matcher, { resolve, reject });
      worker.ref(); // a pending call keeps the process alive
      send(request);
    });

  return {
    addTokens: (given) => {
      const tokens = numbers++;
      send({ kind: "tokens", tokens, given });
      return tokens;
    },
    forget: (tokens) => send({ kind: "forget", tokens }),
    begin: async (tokens, form, signal) => {
      const matcher = numbers++;
      const asked = ask({ kind: "begin", matcher, tokens, form });
      const end = (): void => send({ kind: "end", matcher });
      signal?.addEventListener("abort", end, { once: true });
      if (signal?.aborted) end();
      try {
        return { matcher, mask: (await asked) as Int32Array };
      } finally {
        signal?.removeEventListener("abort", end);
      }
    },
    accept: (matcher, id) => ask({ kind: "accept", matcher, id }),
    end: (matcher) => send({ kind: "end", matcher }),
  };
}

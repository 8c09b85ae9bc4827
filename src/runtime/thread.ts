import { Worker } from "node:worker_threads";
import { RuntimeError, UnsupportedError } from "../errors.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { Backend, BackendSession, Tensors } from "./backend.ts";
import { DEVICE_TABLE, type Device } from "./devices/table.ts";
import type { Reply, Request } from "./protocol.ts";

// Sources run under a TypeScript loader in tests, but a worker thread needs JavaScript: the built file then.
const SOURCE = /src\/runtime\/thread\.ts$/;

function newWorker(): Worker {
  const here = import.meta.url;
  if (SOURCE.test(here)) return new Worker(new URL(here.replace(SOURCE, "dist/runtime/worker.js")));
  return new Worker(new URL("./worker.js", import.meta.url)); // as bundlers find a worker: in these words alone
}

/** `given`: memory that moves to the worker. */
type Call = (request: Request, given?: ArrayBuffer[]) => Promise<Record<string, Tensor>>;

function startWorker(): { call: Call; stop: () => Promise<void> } {
  const worker = newWorker();
  const waiting = new Map<
    number,
    { resolve: (t: Record<string, Tensor>) => void; reject: (e: Error) => void }
  >();
  let nextId = 0;
  let dead: string | null = null;
  const fail = (reason: string): void => {
    dead = reason;
    for (const w of waiting.values()) w.reject(new RuntimeError(reason));
    waiting.clear();
    worker.unref();
  };
  worker.on("message", (reply: Reply) => {
    const w = waiting.get(reply.id);
    waiting.delete(reply.id);
    if (waiting.size === 0) worker.unref();
    if (reply.ok) w?.resolve(reply.tensors as Record<string, Tensor>);
    else w?.reject(new (reply.isUnsupported ? UnsupportedError : RuntimeError)(reply.message));
  });
  worker.on("error", (e) => fail(`the execution engine failed: ${e.message}`));
  worker.on("exit", () => fail("the runtime is closed"));
  worker.unref();
  return {
    call: (request, given = []) =>
      new Promise((resolve, reject) => {
        if (dead !== null) return reject(new RuntimeError(dead));
        const id = nextId++;
        waiting.set(id, { resolve, reject });
        worker.ref(); // a pending call keeps the process alive, an idle runtime does not
        worker.postMessage({ id, request }, given);
      }),
    stop: async () => {
      await worker.terminate();
    },
  };
}

/** A device on a thread of its own; `close` ends it amid what it does. */
export function openThread(device: Device, threads: number): Backend {
  const { call, stop } = startWorker();
  const done = async (request: Request, given?: ArrayBuffer[]): Promise<void> => {
    await call(request, given);
  };
  done({ kind: "open", device, threads }).catch(() => undefined); // calls to a thread that is dead say so
  let nextSession = 0;
  return {
    supports: DEVICE_TABLE[device].features,
    load: async (load) => {
      const session = nextSession++;
      await call({ kind: "load", session, load });
      return sessionOf(call, session);
    },
    put: (tensors, { isGivenAway = false } = {}) =>
      done({ kind: "put", tensors }, isGivenAway ? buffersOf(tensors) : []),
    resize: (shapes) => done({ kind: "resize", shapes }),
    copyRow: (names, from, to) => done({ kind: "copyRow", names, from, to }),
    drop: (names) => done({ kind: "drop", names }),
    get: (names) => call({ kind: "get", names }),
    close: stop,
  };
}

function buffersOf(tensors: Tensors): ArrayBuffer[] {
  return [...new Set(Object.values(tensors).map(({ data }) => data.buffer as ArrayBuffer))];
}

function sessionOf(call: Call, session: number): BackendSession {
  return {
    run: (feeds, options = {}) => call({ kind: "run", session, feeds, options }),
    endProfile: async () => {
      await call({ kind: "endProfile", session });
    },
    close: async () => {
      await call({ kind: "unload", session });
    },
  };
}

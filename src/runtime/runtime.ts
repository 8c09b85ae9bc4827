import { rm, writeFile } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { RuntimeError, UnsupportedError } from "../errors.ts";
import { type SerializedGraph, serialize } from "../graph/onnx.ts";
import { BLOCK_PRODUCT } from "../graph/ops/index.ts";
import type { Value } from "../graph/value.ts";
import { storing } from "../io/disk.ts";
import { removeLeftovers, temporaryPath } from "../io/temporary.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { checkDevice, type Device } from "./device.ts";
import type { KeptPart, Reply, Request } from "./protocol.ts";

/** How to open a runtime. */
export interface RuntimeOptions {
  readonly device?: Device;
  /** Threads of the execution engine; default: all cores. */
  readonly threads?: number | null;
}

/** How to load a graph. */
export interface LoadOptions {
  /** Folder that external weights lie in; default: the system's temporary folder. */
  readonly folder?: string;
  /** Path prefix of a profile file, written when the session closes or `endProfile` is called: `<prefix>_<time>.json`, in Chrome's
   *  trace format, one event a line. */
  readonly profile?: string;
  /** Keep private copies of weights in the layout that products read fastest (default). Without: memory-mapped weights are
   *  shared and not copied. Products with blocks of fewer bits need them, so a graph that has such is always prepacked. */
  readonly prepack?: boolean;
  /** Keep the memory of one run for the next (default), which saves time. Without, it goes back to the system. */
  readonly arena?: boolean;
}

/** What one run takes and gives. */
export interface RunOptions {
  /** Outputs wanted; default: all. */
  readonly fetch?: readonly string[];
  /** Outputs kept in the runtime under an input's name, for the next run of any session. */
  readonly carry?: Readonly<Record<string, string>>;
  /** Scalar output that must be true for `carry` to happen. */
  readonly carryIf?: string;
  /** Outputs [n, …] added to the end of kept tensors [m, …], under the input's name. */
  readonly append?: Readonly<Record<string, string>>;
  /** Outputs written over the kept tensor that an input is, instead of into memory of their own. Sound only where each element
   *  of the output depends on no other element of that input. */
  readonly inPlace?: Readonly<Record<string, string>>;
  /** Kept vectors of which the run takes a stretch, and of which `carry` changes only that. */
  readonly part?: KeptPart;
  /** Outputs [R, T, h·d] put into kept tensors [R, h, C, d], under the input's name: row r from column at[r] on. */
  readonly insert?: Readonly<Record<string, string>>;
  readonly at?: readonly number[];
}

/** A loaded graph. */
export interface Session {
  readonly graph: SerializedGraph;
  /** Runs the graph. Inputs not fed are taken from what was `put` or carried. @throws RuntimeError */
  run(feeds: Readonly<Record<string, Tensor>>, options?: RunOptions): Promise<Record<string, Tensor>>;
  /** Ends a profile that `load` was asked for and writes its file; the session runs on without. */
  endProfile(): Promise<void>;
  close(): Promise<void>;
}

/** The execution engine on a worker thread; the only door to ONNX Runtime. */
export interface Runtime {
  readonly device: Device;
  readonly threads: number;
  /** Serializes and loads a graph given by its named outputs.
   *  @throws UnsupportedError if the device is not there on this machine, RuntimeError */
  load(outputs: Readonly<Record<string, Value>>, options?: LoadOptions): Promise<Session>;
  /** Keeps tensors under input names for later runs. */
  put(tensors: Readonly<Record<string, Tensor>>): Promise<void>;
  /** Gives kept float tensors another shape of the same rank: what both have room for stays in its place, the rest is 0.
   *  One that is not there is made. */
  resize(shapes: Readonly<Record<string, readonly number[]>>): Promise<void>;
  /** Forgets kept tensors; names that are not there do not matter. */
  drop(names: readonly string[]): Promise<void>;
  /** Copies of kept tensors. @throws RuntimeError if one is not there. */
  get<K extends string>(names: readonly K[]): Promise<Record<K, Tensor>>;
  close(): Promise<void>;
}

type Call = (request: Request) => Promise<Record<string, Tensor>>;

// Sources run under a TypeScript loader in tests, but a worker thread needs JavaScript: the built file then.
const SOURCE = /src\/runtime\/runtime\.ts$/;

function newWorker(): Worker {
  const here = import.meta.url;
  if (SOURCE.test(here)) return new Worker(new URL(here.replace(SOURCE, "dist/runtime/worker.js")));
  return new Worker(new URL("./worker.js", import.meta.url)); // as bundlers find a worker: in these words alone
}

function startWorker(device: Device): { call: Call; stop: () => Promise<void> } {
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
    else if (reply.isUnsupported) w?.reject(new UnsupportedError(reply.message));
    else w?.reject(new RuntimeError(`${device}: ${reply.message}`));
  });
  worker.on("error", (e) => fail(`the execution engine failed: ${e.message}`));
  worker.on("exit", () => fail("the runtime is closed"));
  worker.unref();
  return {
    call: (request) =>
      new Promise((resolve, reject) => {
        if (dead !== null) return reject(new RuntimeError(dead));
        const id = nextId++;
        waiting.set(id, { resolve, reject });
        worker.ref(); // a pending call keeps the process alive, an idle runtime does not
        worker.postMessage({ id, request });
      }),
    stop: async () => {
      await worker.terminate();
    },
  };
}

/** Starts the execution engine. @throws UnsupportedError if the device cannot be had on this platform. */
export function openRuntime(options: RuntimeOptions = {}): Runtime {
  const device = options.device ?? "cpu";
  checkDevice(device);
  const threads = options.threads ?? availableParallelism();
  const { call, stop } = startWorker(device);
  let nextSession = 0;
  const tidied = new Set<string>(); // folders without graphs that killed processes left

  const load = async (outputs: Readonly<Record<string, Value>>, opts: LoadOptions = {}): Promise<Session> => {
    const graph = serialize(outputs);
    const session = nextSession++;
    // External weights are found relative to the graph's own file, which is needed only while it loads.
    const folder = opts.folder ?? tmpdir();
    if (!tidied.has(folder)) await removeLeftovers(folder);
    tidied.add(folder);
    const path = temporaryPath(join(folder, ".graph"));
    try {
      await storing(path, () => writeFile(path, graph.bytes));
      const profile = opts.profile ?? null;
      await call({
        kind: "load",
        session,
        path,
        device,
        threads,
        deterministic: true,
        profile,
        prepack: (opts.prepack ?? true) || graph.opCounts.has(BLOCK_PRODUCT),
        arena: opts.arena ?? true,
      });
    } finally {
      await rm(path, { force: true });
    }
    const inputs = graph.inputs.map((i) => i.name);
    return {
      graph,
      run: (feeds, options = {}) => {
        const { fetch = graph.outputs, carry = {}, carryIf = null, append = {}, insert = {} } = options;
        const { at = [], inPlace = {}, part = null } = options;
        const state = { carry, carryIf, append, insert, at, inPlace, part };
        return call({ kind: "run", session, feeds, inputs, fetch, ...state });
      },
      endProfile: async () => {
        await call({ kind: "endProfile", session });
      },
      close: async () => {
        await call({ kind: "unload", session });
      },
    };
  };

  return {
    device,
    threads,
    load,
    put: async (tensors) => {
      await call({ kind: "put", tensors });
    },
    resize: async (shapes) => {
      await call({ kind: "resize", shapes });
    },
    drop: async (names) => {
      await call({ kind: "drop", names });
    },
    get: async <K extends string>(names: readonly K[]) => {
      const tensors = await call({ kind: "get", names });
      const missing = names.filter((n) => !tensors[n]);
      if (missing.length > 0) throw new RuntimeError(`not in the runtime: ${missing.join(", ")}`);
      return tensors as Record<K, Tensor>;
    },
    close: stop,
  };
}

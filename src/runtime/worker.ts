// The thread that owns ONNX Runtime: `run` blocks, so the caller's event loop must not be here.
import { parentPort } from "node:worker_threads";
import * as ort from "onnxruntime-node";
import { UnsupportedError } from "../errors.ts";
import { serialize } from "../graph/onnx.ts";
import { apply, input } from "../graph/value.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { Device } from "./device.ts";
import type { KeptPart, Reply, Request } from "./protocol.ts";

const sessions = new Map<number, ort.InferenceSession>();
/** Tensors that stay here between runs: adapters, optimizer state, key-value caches. */
const resident = new Map<string, ort.Tensor>();
/** Room behind the resident tensors that grow. */
const stores = new Map<string, Float32Array>();

/** Adds rows to a resident tensor [n, …], in place while there is room. */
function append(name: string, rows: ort.Tensor): void {
  const before = resident.get(name);
  if (!before) throw new Error(`nothing to append to: "${name}" was not put`);
  const added = rows.data as Float32Array;
  const used = before.data.length;
  let store = stores.get(name);
  if (!store || store.buffer !== (before.data as Float32Array).buffer || store.length < used + added.length) {
    store = new Float32Array(Math.max(2 * (used + added.length), 4096));
    store.set(before.data as Float32Array);
    stores.set(name, store);
  }
  store.set(added, used);
  const dims = [(before.dims[0] as number) + (rows.dims[0] as number), ...rows.dims.slice(1)];
  resident.set(name, new ort.Tensor("float32", store.subarray(0, used + added.length), dims));
}

/** Puts [R, T, h·d] into a resident tensor [R, h, C, d], row r from column at[r] on. */
function insert(name: string, added: ort.Tensor, at: readonly number[]): void {
  const kept = resident.get(name);
  if (!kept) throw new Error(`nothing to insert into: "${name}" was not put`);
  const [from, to] = [added.data as Float32Array, kept.data as Float32Array];
  const [rows, heads, room, size] = kept.dims as [number, number, number, number];
  const length = added.dims[1] as number;
  let source = 0;
  for (let r = 0; r < rows; r++)
    for (let i = 0; i < length; i++)
      for (let h = 0; h < heads; h++, source += size)
        to.set(from.subarray(source, source + size), ((r * heads + h) * room + (at[r] as number) + i) * size);
}

/** Number of elements from one index of an axis to the next. */
function strideOf(shape: readonly number[], axis: number): number {
  return shape.slice(axis + 1).reduce((n, d) => n * d, 1);
}

/** Copies what two row-major arrays of one rank have room for, axis by axis. */
function copyOverlap(
  from: { readonly data: Float32Array; readonly shape: readonly number[] },
  to: { readonly data: Float32Array; readonly shape: readonly number[] },
  axis = 0,
  [source, target]: readonly [number, number] = [0, 0],
): void {
  const count = Math.min(from.shape[axis] as number, to.shape[axis] as number);
  if (axis === to.shape.length - 1) {
    to.data.set(from.data.subarray(source, source + count), target);
    return;
  }
  const [step, stride] = [strideOf(from.shape, axis), strideOf(to.shape, axis)];
  for (let i = 0; i < count; i++) copyOverlap(from, to, axis + 1, [source + i * step, target + i * stride]);
}

function resize(name: string, shape: readonly number[]): void {
  const before = resident.get(name);
  if (before && String(before.dims) === String(shape)) return;
  const data = new Float32Array(shape.reduce((n, d) => n * d, 1));
  if (before?.dims.length === shape.length)
    copyOverlap({ data: before.data as Float32Array, shape: before.dims }, { data, shape });
  resident.set(name, new ort.Tensor("float32", data, shape));
}

function toOrt(t: Tensor): ort.Tensor {
  return new ort.Tensor(t.dtype, t.data as ort.Tensor.DataTypeMap[ort.Tensor.Type], t.shape);
}

function fromOrt(t: ort.Tensor): Tensor {
  return { dtype: t.type as Tensor["dtype"], shape: t.dims, data: t.data as Tensor["data"] };
}

type LoadRequest = Extract<Request, { kind: "load" }>;

// Failures come back as errors; the engine's own log would be printed.
ort.env.logLevel = "fatal";

/** The smallest graph: whether it loads tells a device that is missing from a graph that is wrong. */
async function deviceWorks(device: Device): Promise<boolean> {
  const { bytes } = serialize({ y: apply("Identity", [input("x", "float32", [1])], [1], {}, null) });
  try {
    await (await ort.InferenceSession.create(bytes, { executionProviders: [device] })).release();
    return true;
  } catch {
    return false;
  }
}

/** The engine's message without its own source positions. */
function firstSentence(reason: string): string {
  return (reason.split(" was false. ").at(-1) as string).trim().split("\n")[0] as string;
}

function missingDevice(device: Device, reason: string): UnsupportedError {
  const available = ort.listSupportedBackends().flatMap((b) => (b.bundled ? [b.name] : []));
  return new UnsupportedError(
    `device "${device}" cannot be used on this machine (the execution engine here is built for ` +
      `${available.join(", ")}). Use --device cpu. The engine says: ${firstSentence(reason)}`,
  );
}

async function load(request: LoadRequest): Promise<void> {
  try {
    sessions.set(request.session, await createSession(request));
  } catch (error) {
    if (request.device === "cpu" || (await deviceWorks(request.device))) throw error;
    throw missingDevice(request.device, error instanceof Error ? error.message : String(error));
  }
}

function createSession(request: LoadRequest): Promise<ort.InferenceSession> {
  return ort.InferenceSession.create(request.path, {
    executionProviders: [request.device],
    intraOpNumThreads: request.threads,
    interOpNumThreads: 1,
    enableCpuMemArena: request.arena,
    enableMemPattern: false, // plans memory per shape: as fast without, with 0.5 GB less in training
    logSeverityLevel: 3,
    ...(request.profile ? { enableProfiling: true, profileFilePrefix: request.profile } : {}),
    extra: {
      session: {
        use_deterministic_compute: request.deterministic ? "1" : "0",
        // Threads wait by spinning within a run, which is faster; after it they would take the cores from the next session.
        "intra_op.allow_spinning": "1",
        force_spinning_stop: "1",
        disable_prepacking: request.prepack ? "0" : "1",
      },
    },
  });
}

/** A kept tensor, or the stretch of it that a run is about. */
function kept(name: string, part: KeptPart | null): ort.Tensor | undefined {
  const whole = resident.get(name);
  if (!whole || !part?.names.includes(name)) return whole;
  const data = (whole.data as Float32Array).subarray(part.from, part.to);
  return new ort.Tensor("float32", data, [data.length]);
}

function keep(name: string, value: ort.Tensor, part: KeptPart | null): void {
  const whole = resident.get(name)?.data as Float32Array | undefined;
  if (whole && part?.names.includes(name)) whole.set(value.data as Float32Array, part.from);
  else resident.set(name, value);
}

async function run(request: Extract<Request, { kind: "run" }>): Promise<Record<string, Tensor>> {
  const session = sessions.get(request.session);
  if (!session) throw new Error(`session ${request.session} is closed`);
  const feeds: Record<string, ort.Tensor> = {};
  for (const name of request.inputs) {
    const fed = request.feeds[name];
    const value = fed ? toOrt(fed) : kept(name, request.part);
    if (!value) throw new Error(`input "${name}" was neither fed nor put`);
    feeds[name] = value;
  }
  const wanted = [
    ...request.fetch,
    ...Object.keys(request.carry),
    ...Object.keys(request.append),
    ...Object.keys(request.insert),
  ];
  const fetches: Record<string, ort.Tensor | null> = Object.fromEntries(wanted.map((name) => [name, null]));
  for (const [from, to] of Object.entries(request.inPlace)) fetches[from] = feeds[to] as ort.Tensor;
  const outputs = await session.run(feeds, fetches);
  const decisive = request.carryIf === null ? null : outputs[request.carryIf];
  if (!decisive || decisive.data[0])
    for (const [from, to] of Object.entries(request.carry))
      keep(to, outputs[from] as ort.Tensor, request.part);
  for (const [from, to] of Object.entries(request.append)) append(to, outputs[from] as ort.Tensor);
  for (const [from, to] of Object.entries(request.insert))
    insert(to, outputs[from] as ort.Tensor, request.at);
  return Object.fromEntries(request.fetch.map((name) => [name, fromOrt(outputs[name] as ort.Tensor)]));
}

async function handle(request: Request): Promise<Record<string, Tensor>> {
  switch (request.kind) {
    case "load":
      await load(request);
      return {};
    case "run":
      return run(request);
    case "put":
      for (const [name, t] of Object.entries(request.tensors)) resident.set(name, toOrt(t));
      return {};
    case "resize":
      for (const [name, shape] of Object.entries(request.shapes)) resize(name, shape);
      return {};
    case "drop":
      for (const name of request.names) resident.delete(name);
      return {};
    case "get":
      return Object.fromEntries(
        request.names.flatMap((name) => {
          const t = resident.get(name);
          return t ? [[name, fromOrt(t)]] : [];
        }),
      );
    case "endProfile":
      sessions.get(request.session)?.endProfiling();
      return {};
    case "unload": {
      const session = sessions.get(request.session);
      sessions.delete(request.session);
      session?.endProfiling();
      await session?.release();
      return {};
    }
  }
}

/** What an answer hands over instead of copying it: results of a run that nothing here reads again. */
function handedOver(request: Request, tensors: Readonly<Record<string, Tensor>>): ArrayBuffer[] {
  if (request.kind !== "run") return [];
  const { carry, append, insert, inPlace } = request;
  const kept = new Set([carry, append, insert, inPlace].flatMap(Object.keys));
  return Object.entries(tensors).flatMap(([name, { data }]) =>
    kept.has(name) ? [] : [data.buffer as ArrayBuffer],
  );
}

function answer(reply: Reply, buffers: readonly ArrayBuffer[] = []): void {
  parentPort?.postMessage(reply, buffers);
}

// One request at a time, in order: a run must see the state that the one before left.
let last: Promise<void> = Promise.resolve();
parentPort?.on("message", ({ id, request }: { id: number; request: Request }) => {
  last = last.then(async () => {
    try {
      const tensors = await handle(request);
      answer({ id, ok: true, tensors }, handedOver(request, tensors));
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      answer({ id, ok: false, message, isUnsupported: error instanceof UnsupportedError });
    }
  });
});

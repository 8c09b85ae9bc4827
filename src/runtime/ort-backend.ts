import type * as ort from "onnxruntime-node";
import { LowrankError, RuntimeError } from "../errors.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { Backend, BackendSession, LoadRequest, RunOptions, Tensors } from "./backend.ts";
import type { DeviceSpec } from "./devices/spec.ts";
import { createOrder } from "./in-order.ts";
import { createKept, type KeptTensors } from "./kept.ts";
import { createSession, type OrtPackage } from "./ort-session.ts";

/** A device of ONNX Runtime whose kept tensors lie in the host's memory, where the CPU computes. It has nothing of Node. */
export function createOrtBackend(engine: OrtPackage, device: DeviceSpec, threads: number): Backend {
  const kept = createKept();
  const order = createOrder();
  const open = new Set<BackendSession>();
  const inOrder = <T>(work: () => Promise<T> | T): Promise<T> =>
    order(work).catch((error: unknown) => {
      throw failure(device, error);
    });
  const load = async (request: LoadRequest): Promise<BackendSession> => {
    const ran = runner(engine, device, await createSession(engine, device, request, threads), kept);
    const session = sessionOf(ran, request.profile !== null, inOrder, () => open.delete(session));
    open.add(session);
    return session;
  };
  return {
    supports: device.features,
    load: (request) => inOrder(() => load(request)),
    put: (tensors) =>
      inOrder(() => {
        for (const [name, tensor] of Object.entries(tensors)) kept.set(name, tensor);
      }),
    resize: (shapes) =>
      inOrder(() => {
        for (const [name, shape] of Object.entries(shapes)) kept.resize(name, shape);
      }),
    drop: (names) =>
      inOrder(() => {
        for (const name of names) kept.drop(name);
      }),
    get: (names) => inOrder(() => copies(kept, names)),
    close: async () => {
      for (const session of open) await session.close();
      await inOrder(kept.clear);
    },
  };
}

function failure({ name }: DeviceSpec, error: unknown): Error {
  if (error instanceof LowrankError) return error;
  return new RuntimeError(`${name}: ${error instanceof Error ? error.message : String(error)}`);
}

function copies(kept: KeptTensors, names: readonly string[]): Record<string, Tensor> {
  const missing = names.filter((name) => kept.get(name) === undefined);
  if (missing.length > 0) throw new RuntimeError(`not in the runtime: ${missing.join(", ")}`);
  return Object.fromEntries(names.map((name) => [name, copyOf(kept.get(name) as Tensor)]));
}

function copyOf(tensor: Tensor): Tensor {
  return { ...tensor, data: tensor.data.slice() };
}

/** A session of ONNX Runtime, and how it is run. */
interface Runner {
  readonly session: ort.InferenceSession;
  run(feeds: Tensors, options: RunOptions): Promise<Record<string, Tensor>>;
}

function sessionOf(
  { session, run }: Runner,
  isProfiled: boolean,
  inOrder: <T>(work: () => Promise<T> | T) => Promise<T>,
  onClose: () => void,
): BackendSession {
  let [isProfiling, isOpen] = [isProfiled, true];
  const endProfile = (): void => {
    if (isProfiling) session.endProfiling();
    isProfiling = false;
  };
  return {
    run: (feeds, options = {}) =>
      inOrder(() => {
        if (!isOpen) throw new Error("the session is closed");
        return run(feeds, options);
      }),
    endProfile: () => inOrder(endProfile),
    close: () =>
      inOrder(async () => {
        if (!isOpen) return;
        isOpen = false;
        onClose();
        endProfile();
        await session.release();
      }),
  };
}

function runner(
  { Tensor: OrtTensor }: OrtPackage,
  { features }: DeviceSpec,
  session: ort.InferenceSession,
  kept: KeptTensors,
): Runner {
  const toOrt = ({ dtype, data, shape }: Tensor): ort.Tensor =>
    new OrtTensor(dtype, data as ort.Tensor.DataTypeMap[ort.Tensor.Type], shape);

  const inputsOf = (feeds: Tensors, { part }: RunOptions): Record<string, ort.Tensor> => {
    const inputs: Record<string, ort.Tensor> = {};
    for (const name of session.inputNames) {
      const value = feeds[name] ?? kept.get(name, part);
      if (!value) throw new Error(`input "${name}" was neither fed nor put`);
      inputs[name] = toOrt(value);
    }
    return inputs;
  };

  const run = async (feeds: Tensors, options: RunOptions): Promise<Record<string, Tensor>> => {
    const { fetch = session.outputNames, inPlace = {} } = options;
    const inputs = inputsOf(feeds, options);
    const wanted: Record<string, ort.Tensor | null> = {};
    for (const name of [...fetch, ...keptOutputs(options), ...(options.carryIf ? [options.carryIf] : [])])
      wanted[name] = null;
    if (features.inPlace)
      for (const [from, to] of Object.entries(inPlace)) wanted[from] = inputs[to] as ort.Tensor;
    const outputs = await session.run(inputs, wanted);
    const outputOf = (name: string): Tensor => fromOrt(outputs[name] as ort.Tensor);
    const results = resultsOf(fetch, options, outputOf);
    if (!features.inPlace) for (const [from, to] of Object.entries(inPlace)) kept.replace(to, outputOf(from));
    keepOutputs(kept, options, outputOf);
    return results;
  };
  return { session, run };
}

function fromOrt({ type, dims, data }: ort.Tensor): Tensor {
  return { dtype: type as Tensor["dtype"], shape: dims, data: data as Tensor["data"] };
}

/** Names of the outputs that a run keeps. */
function keptOutputs({ carry = {}, append = {}, insert = {}, inPlace = {} }: RunOptions): string[] {
  return [carry, append, insert, inPlace].flatMap(Object.keys);
}

/** What a run gives: of what is kept as well a copy. */
function resultsOf(
  fetch: readonly string[],
  options: RunOptions,
  outputOf: (name: string) => Tensor,
): Record<string, Tensor> {
  const shared = new Set(keptOutputs(options));
  return Object.fromEntries(
    fetch.map((name) => [name, shared.has(name) ? copyOf(outputOf(name)) : outputOf(name)]),
  );
}

function keepOutputs(
  kept: KeptTensors,
  { carry = {}, carryIf, append = {}, insert = {}, at = [], part }: RunOptions,
  outputOf: (name: string) => Tensor,
): void {
  if (carryIf === undefined || outputOf(carryIf).data[0])
    for (const [from, to] of Object.entries(carry)) kept.replace(to, outputOf(from), part);
  for (const [from, to] of Object.entries(append)) kept.append(to, outputOf(from));
  for (const [from, to] of Object.entries(insert)) kept.insert(to, outputOf(from), at);
}

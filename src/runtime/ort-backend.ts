import { LowrankError, RuntimeError } from "../errors.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { Backend, BackendSession, LoadRequest } from "./backend.ts";
import { createDeviceState } from "./device-state.ts";
import type { DeviceSpec } from "./devices/spec.ts";
import { createOrder, type InOrder } from "./in-order.ts";
import { createHostState } from "./ort-run.ts";
import { createSession, keptOnDevice, type OrtPackage } from "./ort-session.ts";
import type { KeptState } from "./state.ts";

/** A device of ONNX Runtime. Kept tensors lie in its memory where the binding can hold them there, else in the host's. It has nothing
 *  of Node. */
export function createOrtBackend(engine: OrtPackage, device: DeviceSpec, threads: number): Backend {
  const state: KeptState = device.hasBuffers
    ? createDeviceState(engine, device)
    : createHostState(engine, device.features);
  const order = createOrder();
  const open = new Set<() => Promise<void>>(); // what ends each session
  let isClosed = false;
  const inOrder: InOrder = (work) =>
    order(() => {
      if (isClosed) throw new RuntimeError("the runtime is closed");
      return work();
    }).catch((error: unknown) => {
      throw failure(device, error);
    });

  const load = async (request: LoadRequest): Promise<BackendSession> => {
    const session = await createSession(engine, device, request, threads);
    const loaded = { session, isBound: keptOnDevice(request, device).length > 0 };
    let isProfiling = request.profile !== null;
    const endProfile = (): void => {
      if (isProfiling) session.endProfiling();
      isProfiling = false;
    };
    const end = async (): Promise<void> => {
      endProfile();
      await session.release();
    };
    open.add(end);
    return {
      run: (feeds, options = {}) =>
        inOrder(() => {
          if (!open.has(end)) throw new Error("the session is closed");
          return state.run(loaded, feeds, options);
        }),
      endProfile: () => inOrder(endProfile),
      close: () => inOrder(() => (open.delete(end) ? end() : undefined)),
    };
  };

  return {
    supports: device.features,
    load: (request) => inOrder(() => load(request)),
    put: (tensors) => inOrder(() => state.put(tensors)),
    resize: (shapes) =>
      inOrder(async () => {
        for (const [name, shape] of Object.entries(shapes)) await state.resize(name, shape);
      }),
    copyRow: (names, from, to) =>
      inOrder(async () => {
        for (const name of names) await state.copyRow(name, from, to);
      }),
    drop: (names) =>
      inOrder(() => {
        for (const name of names) state.drop(name);
      }),
    get: (names) => inOrder(() => copies(state, names)),
    close: () =>
      order(async () => {
        isClosed = true;
        for (const end of open) await end();
        open.clear();
        await state.close();
      }),
  };
}

function failure({ name }: DeviceSpec, error: unknown): Error {
  if (error instanceof LowrankError) return error;
  return new RuntimeError(`${name}: ${error instanceof Error ? error.message : String(error)}`);
}

async function copies(state: KeptState, names: readonly string[]): Promise<Record<string, Tensor>> {
  const found: Record<string, Tensor> = {};
  const missing: string[] = [];
  for (const name of names) {
    const tensor = await state.get(name);
    if (tensor) found[name] = tensor;
    else missing.push(name);
  }
  if (missing.length > 0) throw new RuntimeError(`not in the runtime: ${missing.join(", ")}`);
  return found;
}

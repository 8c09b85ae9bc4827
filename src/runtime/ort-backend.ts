import { LowrankError, RuntimeError } from "../errors.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { Backend, BackendSession, LoadRequest } from "./backend.ts";
import type { DeviceSpec } from "./devices/spec.ts";
import { createOrder, type InOrder } from "./in-order.ts";
import { createKept, type KeptTensors } from "./kept.ts";
import { copyOf, createRun } from "./ort-run.ts";
import { createSession, type OrtPackage } from "./ort-session.ts";

/** A device of ONNX Runtime whose kept tensors lie in the host's memory, where the CPU computes. It has nothing of Node. */
export function createOrtBackend(engine: OrtPackage, device: DeviceSpec, threads: number): Backend {
  const kept = createKept();
  const run = createRun(engine, device.features, kept);
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
          return run(session, feeds, options);
        }),
      endProfile: () => inOrder(endProfile),
      close: () => inOrder(() => (open.delete(end) ? end() : undefined)),
    };
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
    copyRow: (names, from, to) =>
      inOrder(() => {
        for (const name of names) kept.copyRow(name, from, to);
      }),
    drop: (names) =>
      inOrder(() => {
        for (const name of names) kept.drop(name);
      }),
    get: (names) => inOrder(() => copies(kept, names)),
    close: () =>
      order(async () => {
        isClosed = true;
        for (const end of open) await end();
        open.clear();
        kept.clear();
      }),
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

import type * as ort from "onnxruntime-node";
import * as node from "onnxruntime-node";
import type { OrtPackage } from "../../src/runtime/ort-session.ts";

/** Tensors of a pretended device's memory that were made and not disposed. */
export interface FakeBuffers {
  readonly engine: OrtPackage;
  readonly live: ReadonlySet<object>;
}

/** ONNX Runtime on the CPU as a device with memory of its own: outputs that are to stay there come as tensors whose data cannot be
 *  read, and that are an error to use once they are disposed. */
export function fakeBuffers(): FakeBuffers {
  const live = new Set<object>();
  const inside = new WeakMap<object, ort.Tensor>();
  const toDevice = (tensor: ort.Tensor): ort.Tensor => {
    const fake = {
      location: "gpu-buffer",
      dims: tensor.dims,
      type: tensor.type,
      get data(): never {
        throw new Error("the data is in the device's memory");
      },
      dispose: () => {
        if (!live.delete(fake)) throw new Error("disposed twice");
      },
    };
    live.add(fake);
    inside.set(fake, tensor);
    return fake as unknown as ort.Tensor;
  };
  const toHost = (tensor: ort.Tensor): ort.Tensor => {
    const own = inside.get(tensor);
    if (own && !live.has(tensor)) throw new Error("a tensor is used after it was disposed");
    return own ?? tensor;
  };
  const create = async (graph: Uint8Array, options: ort.InferenceSession.SessionOptions = {}) => {
    const { preferredOutputLocation: place, ...rest } = options;
    const session = await node.InferenceSession.create(graph, rest);
    const placeOf = (name: string): string => (typeof place === "object" ? place[name] : place) ?? "cpu";
    return {
      inputNames: session.inputNames,
      outputNames: session.outputNames,
      endProfiling: () => session.endProfiling(),
      release: () => session.release(),
      run: async (feeds: Record<string, ort.Tensor>, wanted: Record<string, null> = {}) => {
        const names = Object.keys(wanted);
        if (place && names.length > 0 && names.length !== session.outputNames.length)
          throw new Error("Output count mismatch."); // as the binding
        const inputs = Object.fromEntries(Object.entries(feeds).map(([name, x]) => [name, toHost(x)]));
        const outputs = names.length > 0 ? await session.run(inputs, wanted) : await session.run(inputs);
        const put = ([name, x]: [string, ort.Tensor]): [string, ort.Tensor] => [
          name,
          placeOf(name) === "gpu-buffer" ? toDevice(x) : x,
        ];
        return Object.fromEntries(Object.entries(outputs).map(put));
      },
    };
  };
  const InferenceSession = { create } as unknown as OrtPackage["InferenceSession"];
  return { engine: { InferenceSession, Tensor: node.Tensor, providers: ["cpu"] }, live };
}

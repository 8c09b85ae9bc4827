import type * as ort from "onnxruntime-node";
import { serialize } from "../graph/onnx.ts";
import { int64s } from "../graph/ops/reduce.ts";
import { apply, type Dim, input, type Value } from "../graph/value.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { DeviceSpec } from "./devices/spec.ts";
import type { OrtPackage } from "./ort-session.ts";

/** What is done to float32 tensors in a device's memory: each is a small graph, loaded when it is first needed, whose result is a
 *  new tensor there. Its owner disposes it. */
export interface DeviceMoves {
  toDevice(tensor: Tensor): Promise<ort.Tensor>;
  toHost(tensor: ort.Tensor): Promise<Tensor>;
  /** Elements [from, to) of the first axis. */
  part(tensor: ort.Tensor, from: number, to: number): Promise<ort.Tensor>;
  /** One after the other along the first axis. */
  joined(tensors: readonly ort.Tensor[]): Promise<ort.Tensor>;
  /** Rows of the first axis, in that order. */
  rows(tensor: ort.Tensor, order: readonly number[]): Promise<ort.Tensor>;
  /** Another shape of the same rank: what both have room for, and zeros. */
  fitted(tensor: ort.Tensor, shape: readonly number[]): Promise<ort.Tensor>;
  /** Tensors of one shape [..., d] with rows `at` of their flat form [*, d] replaced by those of `added`, tensor by tensor. */
  written(
    tensors: readonly ort.Tensor[],
    added: readonly ort.Tensor[],
    at: readonly number[],
  ): Promise<readonly ort.Tensor[]>;
  close(): Promise<void>;
}

/** Concat of more would need more buffers than a shader has. */
const MOST_JOINED = 7;

/** The device's memory; the host's where nothing is said. */
const HERE = { preferredOutputLocation: "gpu-buffer" } as const;

type Outputs = Readonly<Record<string, Value>>;

const dims = (rank: number, letter: string): Dim[] => Array.from({ length: rank }, (_, i) => `${letter}${i}`);
const tensorInput = (name: string, rank: number): Value => input(name, "float32", dims(rank, name));
const whole = (name: string, length: Dim): Value => input(name, "int64", [length]);

const identity = (rank: number): Outputs => {
  const x = tensorInput("x", rank);
  return { y: apply("Identity", [x], x.shape, {}, null) };
};

const slices = (rank: number, axes: number): Outputs => {
  const bounds = ["from", "to", "axes"].map((name) => whole(name, axes));
  return { y: apply("Slice", [tensorInput("x", rank), ...bounds], dims(rank, "y"), {}, null) };
};

const joins = (rank: number, count: number): Outputs => {
  const parts = Array.from({ length: count }, (_, i) => tensorInput(`x${i}`, rank));
  return { y: apply("Concat", parts, dims(rank, "y"), { axis: 0 }, null) };
};

const gathers = (rank: number): Outputs => {
  const x = tensorInput("x", rank);
  return { y: apply("Gather", [x, whole("order", "n")], x.shape.with(0, "n"), { axis: 0 }, null) };
};

const pads = (rank: number): Outputs => {
  const x = tensorInput("x", rank);
  return { y: apply("Pad", [x, whole("pads", 2 * rank)], dims(rank, "y"), { mode: "constant" }, null) };
};

const writes = (rank: number, addedRank: number, count: number, size: number): Outputs => {
  const at = input("at", "int64", ["k", 1]);
  const shape = whole("shape", rank);
  const flat = (x: Value, rows: Dim): Value =>
    apply("Reshape", [x, int64s([-1, size])], [rows, size], {}, null);
  const outputs = Array.from({ length: count }, (_, i) => {
    const x = tensorInput(`x${i}`, rank);
    const added = flat(tensorInput(`a${i}`, addedRank), "k");
    const next = apply("ScatterND", [flat(x, "n"), at, added], ["n", size], {}, null);
    return [`y${i}`, apply("Reshape", [next, shape], x.shape, {}, null)] as const;
  });
  return Object.fromEntries(outputs);
};

/** Moves on a device of ONNX Runtime. */
export function createDeviceMoves(engine: OrtPackage, device: DeviceSpec): DeviceMoves {
  const { InferenceSession, Tensor: OrtTensor } = engine;
  const sessions = new Map<string, Promise<ort.InferenceSession>>();
  const run = async (
    key: string,
    build: () => Outputs,
    feeds: Record<string, ort.Tensor>,
    place: { readonly preferredOutputLocation?: "gpu-buffer" } = HERE,
  ): Promise<ort.InferenceSession.ReturnType> => {
    const loaded =
      sessions.get(key) ??
      InferenceSession.create(serialize(build()).bytes, {
        executionProviders: device.providers,
        logSeverityLevel: 3,
        ...place,
      });
    sessions.set(key, loaded);
    loaded.catch(() => sessions.delete(key)); // the next attempt may find room
    return (await loaded).run(feeds);
  };
  const longs = (values: readonly number[], shape: readonly number[] = [values.length]): ort.Tensor =>
    new OrtTensor("int64", BigInt64Array.from(values, BigInt), shape);
  const one = async (...args: Parameters<typeof run>): Promise<ort.Tensor> =>
    (await run(...args)).y as ort.Tensor;
  const sliced = (x: ort.Tensor, from: readonly number[], to: readonly number[]): Promise<ort.Tensor> => {
    const rank = x.dims.length;
    const axes = longs(from.map((_, i) => i));
    const feeds = { x, from: longs(from), to: longs(to), axes };
    return one(`slice ${rank} ${from.length}`, () => slices(rank, from.length), feeds);
  };

  const joined = async (tensors: readonly ort.Tensor[]): Promise<ort.Tensor> => {
    const groups: ort.Tensor[] = [];
    for (let i = 0; i < tensors.length; i += MOST_JOINED) {
      const parts = tensors.slice(i, i + MOST_JOINED);
      const feeds = Object.fromEntries(parts.map((x, k) => [`x${k}`, x]));
      const rank = (parts[0] as ort.Tensor).dims.length;
      groups.push(await one(`join ${rank} ${parts.length}`, () => joins(rank, parts.length), feeds));
    }
    if (groups.length === 1) return groups[0] as ort.Tensor;
    const all = await joined(groups);
    for (const group of groups) group.dispose();
    return all;
  };

  return {
    toDevice: ({ data, shape }) => {
      const x = new OrtTensor("float32", data as Float32Array, shape);
      return one(`up ${shape.length}`, () => identity(shape.length), { x });
    },
    toHost: async (x) => {
      const rank = x.dims.length;
      const { data, dims: shape } = await one(`down ${rank}`, () => identity(rank), { x }, {});
      return { dtype: "float32", shape, data: data as Float32Array };
    },
    part: (x, from, to) => sliced(x, [from], [to]),
    joined,
    rows: (x, order) => {
      const rank = x.dims.length;
      return one(`rows ${rank}`, () => gathers(rank), { x, order: longs(order) });
    },
    fitted: async (x, shape) => {
      const rank = shape.length;
      const common = shape.map((size, i) => Math.min(size, x.dims[i] as number));
      const cut = await sliced(
        x,
        shape.map(() => 0),
        common,
      );
      const ends = shape.map((size, i) => size - (common[i] as number));
      const feeds = { x: cut, pads: longs([...shape.map(() => 0), ...ends]) };
      const y = await one(`pad ${rank}`, () => pads(rank), feeds);
      cut.dispose();
      return y;
    },
    written: async (tensors, added, at) => {
      const [{ dims: shape }, { dims: own }] = [tensors[0], added[0]] as [ort.Tensor, ort.Tensor];
      const size = shape.at(-1) as number;
      const feeds: Record<string, ort.Tensor> = { at: longs(at, [at.length, 1]), shape: longs(shape) };
      tensors.forEach((x, i) => {
        feeds[`x${i}`] = x;
        feeds[`a${i}`] = added[i] as ort.Tensor;
      });
      const sizes = [shape.length, own.length, tensors.length, size] as const;
      const outputs = await run(`write ${sizes}`, () => writes(...sizes), feeds);
      return tensors.map((_, i) => outputs[`y${i}`] as ort.Tensor);
    },
    close: async () => {
      for (const loaded of await Promise.allSettled(sessions.values()))
        if (loaded.status === "fulfilled") await loaded.value.release();
      sessions.clear();
    },
  };
}

import type * as ort from "onnxruntime-node";
import type { Tensor } from "../tensor/tensor.ts";
import type { RunOptions, Tensors } from "./backend.ts";
import { createDeviceKept, type DeviceKept, isForDevice } from "./device-kept.ts";
import { createDeviceMoves, type DeviceMoves } from "./device-moves.ts";
import type { DeviceSpec } from "./devices/spec.ts";
import { checkRoom, rowTargets } from "./insertion.ts";
import { fromOrt, keptOutputs, ortTensors } from "./ort-run.ts";
import type { OrtPackage } from "./ort-session.ts";
import type { KeptState } from "./state.ts";

/** Kept tensors in a device's memory: they cross to the host where they are got or fetched, and nowhere else. */
export function createDeviceState(engine: OrtPackage, device: DeviceSpec): KeptState {
  const moves = createDeviceMoves(engine, device);
  const kept = createDeviceKept(moves);
  return {
    run: createDeviceRun(engine, moves, kept),
    put: (tensors) => {
      for (const [name, tensor] of Object.entries(tensors)) kept.put(name, tensor);
    },
    resize: (name, shape) => kept.resize(name, shape),
    copyRow: async (name, from, to) => {
      const rows = kept.shapeOf(name)?.[0];
      if (rows === undefined) throw new Error(`nothing to copy a row of: "${name}" was not put`);
      if (Math.max(from, to) >= rows) throw new Error(`no row ${Math.max(from, to)}: "${name}" has ${rows}`);
      const order = Array.from({ length: rows }, (_, r) => (r === to ? from : r));
      await kept.replace(name, await moves.rows(await kept.whole(name), order));
    },
    drop: (name) => kept.drop(name),
    get: (name) => kept.get(name),
    close: async () => {
      kept.clear();
      await moves.close();
    },
  };
}

function isOnDevice({ location }: ort.Tensor): boolean {
  return location === "gpu-buffer";
}

function createDeviceRun(
  { Tensor: OrtTensor }: OrtPackage,
  moves: DeviceMoves,
  kept: DeviceKept,
): KeptState["run"] {
  const toOrt = ortTensors(OrtTensor);
  const toHost = async (x: ort.Tensor): Promise<Tensor> => (isOnDevice(x) ? moves.toHost(x) : fromOrt(x));

  /** Inputs of a run; those made for it are added to `own`. */
  const inputsOf = async (
    names: readonly string[],
    feeds: Tensors,
    { part }: RunOptions,
    own: ort.Tensor[],
  ): Promise<Record<string, ort.Tensor>> => {
    const inputs: Record<string, ort.Tensor> = {};
    for (const name of names) {
      const value = feeds[name] ?? (await kept.take(name, part));
      if (!value) throw new Error(`input "${name}" was neither fed nor put`);
      if ("tensor" in value && value.isOwn) own.push(value.tensor);
      inputs[name] = "tensor" in value ? value.tensor : toOrt(value);
    }
    return inputs;
  };

  /** An output takes a kept tensor's place; it is no longer among those to be disposed. */
  const keep = async (name: string, output: ort.Tensor, part: RunOptions["part"], own: Set<ort.Tensor>) => {
    const host = isOnDevice(output) ? null : fromOrt(output);
    const isStretch = part?.names.includes(name) && kept.shapeOf(name) !== undefined;
    if (host && !isStretch) return kept.put(name, host);
    if (host && !isForDevice(host))
      throw new Error(`stretches are of float32 tensors, "${name}" is ${host.dtype}`);
    own.delete(output);
    await kept.replace(name, host ? await moves.toDevice(host) : output, part);
  };

  return async ({ session, isBound }, feeds, options) => {
    const { fetch = session.outputNames, carry = {}, carryIf, inPlace = {}, part } = options;
    for (const name of Object.values(inPlace))
      if (!kept.shapeOf(name)) throw new Error(`nothing to write over: "${name}" was not put`);
    const own: ort.Tensor[] = [];
    const made = new Set<ort.Tensor>();
    try {
      const inputs = await inputsOf(session.inputNames, feeds, options, own);
      const asked = [...fetch, ...keptOutputs(options), ...(carryIf === undefined ? [] : [carryIf])];
      const wanted = isBound ? session.outputNames : asked;
      const outputs = await session.run(inputs, Object.fromEntries(wanted.map((name) => [name, null])));
      const outputOf = (name: string): ort.Tensor => outputs[name] as ort.Tensor;
      for (const x of Object.values(outputs)) if (isOnDevice(x)) made.add(x);
      const results: Record<string, Tensor> = {};
      const shared = new Set(keptOutputs(options));
      for (const name of fetch) {
        const { data, ...rest } = await toHost(outputOf(name));
        results[name] = { ...rest, data: shared.has(name) ? data.slice() : data };
      }
      for (const [from, to] of Object.entries(inPlace)) await keep(to, outputOf(from), part, made);
      if (carryIf === undefined || (await toHost(outputOf(carryIf))).data[0])
        for (const [from, to] of Object.entries(carry)) await keep(to, outputOf(from), part, made);
      await insertAll(moves, kept, outputOf, options);
      return results;
    } finally {
      for (const x of [...own, ...made]) x.dispose();
    }
  };
}

/** Puts outputs [R, T, h·d] into kept tensors [R, …h, C, d], all of one shape in one run. */
async function insertAll(
  moves: DeviceMoves,
  kept: DeviceKept,
  outputOf: (name: string) => ort.Tensor,
  { insert = {}, at = [], part }: RunOptions,
): Promise<void> {
  const groups = new Map<string, [string, ort.Tensor][]>();
  for (const [from, name] of Object.entries(insert)) {
    const shape = kept.shapeOf(name);
    if (!shape) throw new Error(`nothing to insert into: "${name}" was not put`);
    const added = outputOf(from);
    const key = `${shape} ${added.dims} ${part?.names.includes(name)}`;
    groups.set(key, [...(groups.get(key) ?? []), [name, added]]);
  }
  for (const group of groups.values()) {
    const [name, { dims: added }] = group[0] as [string, ort.Tensor];
    const shape = kept.shapeOf(name) as readonly number[];
    checkRoom(shape, added, at);
    const targets = rowTargets(shape, added, at, part?.names.includes(name) ? part.from : 0);
    const tensors = [];
    for (const [target] of group) tensors.push(await kept.whole(target));
    const isHost = (x: ort.Tensor): boolean => !isOnDevice(x);
    const news = group.map(([, x]) => x);
    const brought = news.some(isHost) ? await Promise.all(news.map((x) => moves.toDevice(fromOrt(x)))) : [];
    const written = await moves.written(tensors, brought.length > 0 ? brought : news, targets);
    for (const [i, [target]] of group.entries()) await kept.replace(target, written[i] as ort.Tensor);
    for (const x of brought) x.dispose();
  }
}

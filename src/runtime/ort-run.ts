import type * as ort from "onnxruntime-node";
import type { Tensor } from "../tensor/tensor.ts";
import type { Features, RunOptions, Tensors } from "./backend.ts";
import { createKept, type KeptTensors } from "./kept.ts";
import type { OrtPackage } from "./ort-session.ts";
import type { KeptState } from "./state.ts";

/** Kept tensors in the host's memory, where the CPU computes. */
export function createHostState(engine: OrtPackage, features: Features): KeptState {
  const kept = createKept();
  return {
    run: createRun(engine, features, kept),
    put: (tensors) => {
      for (const [name, tensor] of Object.entries(tensors)) kept.set(name, tensor);
    },
    resize: kept.resize,
    copyRow: kept.copyRow,
    drop: kept.drop,
    get: (name) => {
      const tensor = kept.get(name);
      return tensor && copyOf(tensor);
    },
    close: kept.clear,
  };
}

function createRun(
  { Tensor: OrtTensor }: OrtPackage,
  features: Features,
  kept: KeptTensors,
): KeptState["run"] {
  const toOrt = ortTensors(OrtTensor);
  const inputsOf = (names: readonly string[], feeds: Tensors, { part }: RunOptions) => {
    const inputs: Record<string, ort.Tensor> = {};
    for (const name of names) {
      const value = feeds[name] ?? kept.get(name, part);
      if (!value) throw new Error(`input "${name}" was neither fed nor put`);
      inputs[name] = toOrt(value);
    }
    return inputs;
  };

  return async ({ session }, feeds, options) => {
    const { fetch = session.outputNames, inPlace = {}, carryIf, part } = options;
    const inputs = inputsOf(session.inputNames, feeds, options);
    for (const name of Object.values(inPlace))
      if (!kept.get(name)) throw new Error(`nothing to write over: "${name}" was not put`);
    const wanted: Record<string, ort.Tensor | null> = {};
    for (const name of [...fetch, ...keptOutputs(options)]) wanted[name] = null;
    if (carryIf !== undefined) wanted[carryIf] = null;
    if (features.inPlace)
      for (const [from, to] of Object.entries(inPlace)) wanted[from] = inputs[to] as ort.Tensor;
    const outputs = await session.run(inputs, wanted);
    const outputOf = (name: string): Tensor => fromOrt(outputs[name] as ort.Tensor);
    const results = resultsOf(fetch, options, outputOf);
    if (!features.inPlace)
      for (const [from, to] of Object.entries(inPlace)) kept.replace(to, outputOf(from), part);
    keepOutputs(kept, options, outputOf);
    return results;
  };
}

/** The engine's tensors over the host's, without a copy. */
export function ortTensors(OrtTensor: OrtPackage["Tensor"]): (tensor: Tensor) => ort.Tensor {
  return ({ dtype, data, shape }) =>
    new OrtTensor(dtype, data as ort.Tensor.DataTypeMap[ort.Tensor.Type], shape);
}

/** A tensor in the host's memory, as it is. */
export function fromOrt({ type, dims, data }: ort.Tensor): Tensor {
  return { dtype: type as Tensor["dtype"], shape: dims, data: data as Tensor["data"] };
}

/** Names of the outputs that a run keeps. */
export function keptOutputs({ carry = {}, insert = {}, inPlace = {} }: RunOptions): string[] {
  return [carry, insert, inPlace].flatMap(Object.keys);
}

/** What a run gives: of what is kept as well a copy. */
function resultsOf(
  fetch: readonly string[],
  options: RunOptions,
  outputOf: (name: string) => Tensor,
): Record<string, Tensor> {
  const shared = new Set(keptOutputs(options));
  const resultOf = (name: string): Tensor => (shared.has(name) ? copyOf(outputOf(name)) : outputOf(name));
  return Object.fromEntries(fetch.map((name) => [name, resultOf(name)]));
}

/** The tensor with elements of its own. */
function copyOf(tensor: Tensor): Tensor {
  return { ...tensor, data: tensor.data.slice() };
}

function keepOutputs(
  kept: KeptTensors,
  { carry = {}, carryIf, insert = {}, at = [], part }: RunOptions,
  outputOf: (name: string) => Tensor,
): void {
  if (carryIf === undefined || outputOf(carryIf).data[0])
    for (const [from, to] of Object.entries(carry)) kept.replace(to, outputOf(from), part);
  for (const [from, to] of Object.entries(insert)) kept.insert(to, outputOf(from), at, part);
}

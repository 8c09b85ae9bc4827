import { ShapeError } from "../errors.ts";
import { detach, reshape, split } from "../graph/ops/index.ts";
import type { Value } from "../graph/value.ts";
import { random } from "../tensor/random.ts";
import { type FloatTensor, floats, sizeOf } from "../tensor/tensor.ts";
import type { BaseActivations } from "./base-activations.ts";
import type { Trainable } from "./method.ts";

/** Number of parameters that are trained, |Θ|. */
export function trainedCount(trainables: readonly Trainable[]): number {
  return parameterCount(trainables.filter((t) => !t.fixed));
}

/** Length of the flat vector θ: what is trained, and what is kept with it. */
export function parameterCount(trainables: readonly Trainable[]): number {
  return trainables.reduce((n, t) => n + sizeOf(t.shape), 0);
}

/** Trainables as views of the flat vector `theta` [|Θ|], in order. All state of a run (parameters, moments, gradient) is
 *  such a vector: the optimizer is a dozen nodes however many modules are adapted. */
export function viewsOf(theta: Value, trainables: readonly Trainable[]): ReadonlyMap<string, Value> {
  const pieces = split(
    theta,
    trainables.map((t) => sizeOf(t.shape)),
    0,
  );
  return new Map(
    trainables.map((t, i) => {
      const view = reshape(pieces[i] as Value, t.shape);
      return [t.name, t.fixed ? detach(view) : view];
    }),
  );
}

/** Starting values of all trainables as one flat vector; each draws from a stream of its own, so that adding a module
 *  does not change the others. */
export async function initialParameters(
  trainables: readonly Trainable[],
  seed: number,
  base: (path: string) => Promise<FloatTensor>,
  activations: BaseActivations = notHere,
): Promise<Float32Array> {
  const flat = new Float32Array(parameterCount(trainables));
  let offset = 0;
  for (const t of trainables) {
    const data = await t.init(random(seed, t.name), base, activations);
    if (data.length !== sizeOf(t.shape))
      throw new ShapeError(`${t.name}: expected ${sizeOf(t.shape)} starting values, got ${data.length}`);
    flat.set(data, offset);
    offset += data.length;
  }
  return flat;
}

function notHere(): never {
  throw new Error("these starting values need the base model's activations");
}

/** Cuts a flat vector into named tensors (views, not copies). @throws ShapeError if the length does not fit. */
export function unflatten(flat: Float32Array, trainables: readonly Trainable[]): Map<string, FloatTensor> {
  if (flat.length !== parameterCount(trainables))
    throw new ShapeError(`expected ${parameterCount(trainables)} parameters, got ${flat.length}`);
  let offset = 0;
  return new Map(
    trainables.map((t) => {
      const data = flat.subarray(offset, offset + sizeOf(t.shape));
      offset += data.length;
      return [t.name, floats(data, t.shape)];
    }),
  );
}

/** The inverse of `unflatten`. @throws ShapeError naming the first tensor that is missing or has another shape. */
export function flatten(
  tensors: ReadonlyMap<string, FloatTensor>,
  trainables: readonly Trainable[],
): Float32Array {
  const flat = new Float32Array(parameterCount(trainables));
  let offset = 0;
  for (const t of trainables) {
    const tensor = tensors.get(t.name);
    if (`${tensor?.shape}` !== `${t.shape}`)
      throw new ShapeError(
        `${t.name}: expected shape [${t.shape}], got ${tensor ? `[${tensor.shape}]` : "none"}`,
      );
    flat.set((tensor as FloatTensor).data, offset);
    offset += sizeOf(t.shape);
  }
  return flat;
}

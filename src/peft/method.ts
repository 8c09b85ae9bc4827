import type { Value } from "../graph/value.ts";
import type { ForwardContext } from "../models/context.ts";
import type { Random } from "../tensor/random.ts";
import type { FloatTensor } from "../tensor/tensor.ts";

/** A tensor that training changes. */
export interface Trainable {
  /** Unique among all methods of a run, e.g. `layers.0.attention.q.loraA`. */
  readonly name: string;
  readonly shape: readonly number[];
  /** Starting value. `base` reads a frozen weight. */
  init(generator: Random, base: (path: string) => Promise<FloatTensor>): Promise<Float32Array> | Float32Array;
}

/** What a method needs while it builds a graph. */
export interface MethodInputs {
  /** Value of a trainable by its name, in its shape. */
  trainable(name: string): Value;
  /** Random int32 [R, T, 1] for dropout, drawn anew each step; null outside training. */
  readonly noise: Value | null;
}

/** A way to adapt a frozen model: its trainable tensors and what they do to the forward pass. */
export interface Method {
  readonly name: string;
  readonly trainables: readonly Trainable[];
  /** Weight that takes the place of a frozen one (or of one that the model does not have), or null. */
  replace(path: string, inputs: MethodInputs): Value | null;
  /** The context with what this method adds at each place. */
  wrap(ctx: ForwardContext, inputs: MethodInputs): ForwardContext;
}

import type { LoraFactors } from "../formats/lora-factors.ts";
import type { Value } from "../graph/value.ts";
import type { ForwardContext } from "../models/context.ts";
import type { Random } from "../tensor/random.ts";
import type { FloatTensor } from "../tensor/tensor.ts";
import type { BaseActivations } from "./base-activations.ts";
import type { Compute } from "./compute.ts";

/** A tensor that training changes. */
export interface Trainable {
  /** Unique among all methods of a run, e.g. `layers.0.attention.q.loraA`. */
  readonly name: string;
  readonly shape: readonly number[];
  /** Starting value. `base` reads a frozen weight, `activations` runs the base model. */
  init(
    generator: Random,
    base: (path: string) => Promise<FloatTensor>,
    activations: BaseActivations,
  ): Promise<Float32Array> | Float32Array;
  /** Factor on the learning rate (LoRA+); default 1. */
  readonly rateFactor?: number;
  /** Kept with the parameters and saved in checkpoints, but not trained: no gradient reaches it and no update changes it,
   *  but that of the method itself (VeRA's projections, PiSSA's starting values, AdaLoRA's importance). */
  readonly fixed?: boolean;
}

/** What a method needs while it builds a graph. */
export interface MethodInputs {
  /** Value of a trainable by its name, in its shape. */
  trainable(name: string): Value;
  /** Random int32 [R, T, 1] for dropout, drawn anew each step; null outside training. */
  readonly noise: Value | null;
  /** Token ids int32 [R, T]; virtual tokens count on from the vocabulary's size. */
  readonly ids: Value;
}

/** Tokens that a method adds to every sequence. They are ordinary nodes of the packed trie, with ids from the vocabulary's
 *  size on: first the prefix, then the infix. */
export interface VirtualTokens {
  /** In front of the sequence (the paper's l_p). */
  readonly prefix: number;
  /** Between prompt and completion (l_i). */
  readonly infix: number;
}

/** How trained values fold into the base's weights. */
export interface Merging {
  /** Paths of the weights that change, `layers.0.attention.q.weight`. */
  readonly paths: readonly string[];
  /** Those of `paths` that are trained themselves: they come before what any method does to them, as in the forward pass. */
  readonly whole?: ReadonlySet<string>;
  /** Paths that change as well where the model, or another method, has them (IA3 scales biases). */
  readonly optional?: readonly string[];
  /** New value of one of them. `base` reads the weight as it is before this method (a tied output layer's is the
   *  embedding's), `trained` a trained value, `compute` runs small graphs. */
  read(path: string, from: MergeSources): Promise<FloatTensor>;
}

/** What merging reads. */
export interface MergeSources {
  base(path: string): Promise<FloatTensor>;
  trained(name: string): FloatTensor;
  readonly compute: Compute;
}

/** What stands in an adapter's files. */
export interface AdapterTensors {
  /** Content of adapter_config.json: PEFT's where PEFT has the method (`peft_type`), else ours (`lowrank_method`). */
  config(baseModel: string | null): Readonly<Record<string, unknown>>;
  /** Trained values by name → tensors by key of adapter_model.safetensors. */
  write(values: ReadonlyMap<string, FloatTensor>): ReadonlyMap<string, FloatTensor>;
  /** The way back. @throws InputError listing every tensor that is missing, superfluous or of another shape */
  read(tensors: ReadonlyMap<string, FloatTensor>, where: string): ReadonlyMap<string, FloatTensor>;
}

/** Work of a method after each update, inside the update's graph. */
export interface AfterUpdate {
  /** Numbers that change with the step (from 1 to `steps`), by name. */
  scalars(step: number, steps: number): Readonly<Record<string, number>>;
  /** New values of trainables, by name; those left out stay as the optimizer made them. */
  apply(state: UpdatedState): ReadonlyMap<string, Value>;
}

/** What `AfterUpdate` reads. */
export interface UpdatedState {
  /** A trainable as the optimizer left it. */
  trainable(name: string): Value;
  /** Its gradient in this update, after clipping. */
  gradient(name: string): Value;
  /** One of `scalars`, []. */
  scalar(name: string): Value;
}

/** A way to adapt a frozen model: its trainable tensors and what they do to the forward pass. */
export interface Method {
  readonly name: string;
  readonly trainables: readonly Trainable[];
  /** Trainables that are zero at the start and that the first update must move, and what the user calls each. */
  readonly startsAtZero: ReadonlyMap<string, string>;
  readonly virtualTokens: VirtualTokens | null;
  /** Positions in front of the first token that this method takes (prefix tuning). */
  readonly positionOffset: number;
  /** Weight that takes the place of a frozen one (or of one that the model does not have), or null. */
  replace(path: string, inputs: MethodInputs): Value | null;
  /** The context with what this method adds at each place. */
  wrap(ctx: ForwardContext, inputs: MethodInputs): ForwardContext;
  /** Added to the loss once per update (AdaLoRA's orthogonality), a scalar; null for none. */
  penalty(inputs: MethodInputs): Value | null;
  /** Changes to the state after each update; null for none. */
  readonly afterUpdate: AfterUpdate | null;
  /** How it merges; a text says why it cannot. */
  readonly merging: Merging | string;
  /** Its updates as products, ΔW = scaling·B·A, which are the same on any base; null where they are no such products, or where it
   *  has none. `trained` reads a trained value. */
  factors(trained: (name: string) => FloatTensor): readonly LoraFactors[] | null;
  /** An output layer tied to the embedding follows what this method does to the embedding (full fine-tuning). */
  readonly keepsTie: boolean;
  /** Bytes of a training step that it needs whatever the batch, beside its trainables. */
  readonly stepBytes: number;
  /** What the user should know before training begins. */
  readonly notices: readonly string[];
  readonly files: AdapterTensors;
  /** What the graph is built from: methods that agree in it share graphs, whatever their parameters. */
  readonly structure: string;
}

/** A method from what it does; what is left out it does not do. */
export function defineMethod(
  parts: Pick<Method, "name" | "trainables" | "merging" | "files" | "structure"> & Partial<Method>,
): Method {
  return {
    startsAtZero: new Map(),
    virtualTokens: null,
    positionOffset: 0,
    keepsTie: false,
    stepBytes: 0,
    notices: [],
    penalty: () => null,
    factors: () => null,
    afterUpdate: null,
    replace: () => null,
    wrap: (ctx) => ctx,
    ...parts,
  };
}

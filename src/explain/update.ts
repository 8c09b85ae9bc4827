import type { LoraFactors } from "../formats/lora-factors.ts";
import type { BaseModel } from "../models/base.ts";
import type { OpenBaseOptions } from "../models/base-model.ts";
import type { Matrix } from "../tensor/linear-algebra.ts";

/** How to open an adapter for analysis. */
export interface UpdatesOptions extends OpenBaseOptions {
  /** The base model; default: the one that the adapter names. */
  readonly model?: string;
  /** Also use another model as the base than the adapter names. */
  readonly anyBase?: boolean;
  /** false: do without the base's weights; default true. Where the adapter names a base that cannot be had, it is done without as
   *  well, and a note says so. */
  readonly base?: boolean;
}

/** What an adapter does to one matrix. */
export interface ModuleUpdate {
  /** The module's path, `layers.0.attention.q`; its Hugging Face name where the base's architecture is not known. */
  readonly path: string;
  readonly kind: "linear" | "embedding";
  /** [out, in] of ΔW; of an embedding [dimension, vocabulary]. */
  readonly shape: readonly [number, number];
  /** ΔW = scaling·B·A, A [r, in], B [out, r]; null for an update that is no such product. */
  readonly factors: LoraFactors | null;
  /** ΔW [out, in]: the product, or what merging adds to the base's weight (a difference of float32 numbers). */
  delta(): Promise<Matrix>;
}

/** A method that has no ΔW: what it trains acts on activations. */
export interface WithoutUpdate {
  readonly method: string;
  readonly reason: string;
  /** Numbers that it trains. */
  readonly parameters: number;
}

/** An adapter by module. */
export interface AdapterUpdates {
  /** Folder or file. */
  readonly path: string;
  readonly methods: readonly string[];
  /** null: done without its weights. */
  readonly base: BaseModel | null;
  /** In the model's order. */
  readonly modules: readonly ModuleUpdate[];
  readonly withoutUpdate: readonly WithoutUpdate[];
  /** What is not among `modules`, with counts; what was passed over, and what the user should know. */
  readonly notes: readonly string[];
  /** Ends what computes ΔW. */
  close(): Promise<void>;
}

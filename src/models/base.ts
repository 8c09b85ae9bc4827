import type { ModelConfig, ModelSource } from "../formats/model.ts";
import type { WeightLookup } from "./base-context.ts";
import type { Family, ModuleSpec } from "./family.ts";
import type { ModelText } from "./model-text.ts";
import type { WeightFile } from "./weight-layout.ts";
import type { BaseBits } from "./weight-storage.ts";

/** A frozen model, opened: its modules, weights on disk, tokenizer and chat template. */
export interface BaseModel extends ModelText {
  readonly source: ModelSource;
  readonly config: ModelConfig;
  readonly family: Family;
  readonly modules: readonly ModuleSpec[];
  readonly weights: WeightFile;
  /** What its user should know: another model taken in its place, a conversion put right. */
  readonly warnings: readonly string[];
  /** Bits that the matrices of linear layers are kept in. */
  readonly bits: BaseBits;
  /** The weights for training and scoring: activations are floats throughout. */
  readonly frozen: WeightLookup;
  /** Paths of weights that the checkpoint lacks, and that start at random: those of a new head. */
  readonly newWeights: readonly string[];
  /** The weights for decoding: products with quantized ones round activations to 8 bits, and gradients pass through as if they
   *  did not. The same for a base of floats. */
  readonly decoding: WeightLookup;
}

import type { NamedModel } from "../formats/base-names.ts";
import type { ModelConfig, TokenizerSource } from "../formats/model-source.ts";
import type { Family, ModuleSpec } from "../models/family.ts";
import type { Tokenizer } from "../text/tokenizer.ts";

/** What a method needs to know of a model to adapt it. */
export interface ModelShape {
  readonly config: ModelConfig;
  readonly family: Family;
  readonly modules: readonly ModuleSpec[];
  /** For methods that start from a text. */
  readonly tokenizer?: Tokenizer;
  /** Where it was found: an adapter may name another model as its base. */
  readonly source?: NamedModel & { readonly tokenizer?: TokenizerSource };
}

import type { ModelConfig, ModelSource, TokenizerSource } from "../formats/model.ts";
import { type BaseIdentity, identityOf } from "../formats/peft/base-identity.ts";
import type { NamedModel } from "../hub/base-names.ts";
import type { Family, ModuleSpec } from "../models/family.ts";
import type { WeightFile } from "../models/weight-layout.ts";
import type { Tokenizer } from "../text/tokenizer.ts";

/** What a method needs to know of a model to adapt it. */
export interface ModelShape {
  readonly config: ModelConfig;
  readonly family: Family;
  readonly modules: readonly ModuleSpec[];
  /** For methods that start from a text. */
  readonly tokenizer?: Tokenizer;
  /** Where it was found: an adapter may name another model as its base. */
  readonly source?: NamedModel & Pick<ModelSource, "kind"> & { readonly tokenizer?: TokenizerSource };
  /** Its weights, where they were read. */
  readonly weights?: Pick<WeightFile, "fingerprint">;
}

/** What the adapters of a model are to say of it; null for one that was found nowhere. */
export function baseIdentityOf({
  config,
  source,
  weights,
}: Pick<ModelShape, "config" | "source" | "weights">): BaseIdentity | null {
  return source === undefined ? null : identityOf(config, source.kind, weights?.fingerprint ?? null);
}

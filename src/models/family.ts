import { FormatError } from "../errors.ts";
import type { EncoderConfig, ModelConfig } from "../formats/model.ts";
import type { Value } from "../graph/value.ts";
import type { ForwardContext, TokenInputs } from "./context.ts";

/** A module that has weights. */
export type ModuleSpec =
  | {
      readonly kind: "linear";
      readonly path: string;
      readonly inSize: number;
      readonly outSize: number;
      readonly bias: boolean;
      /** The output layer (LM head). */
      readonly isOutput?: boolean;
      /** Path of the embedding whose weight it shares. */
      readonly tiedTo?: string;
      /** Part of a head that checkpoints of the base alone lack; it starts anew then. */
      readonly mayBeNew?: true;
    }
  | { readonly kind: "embedding"; readonly path: string; readonly count: number; readonly size: number }
  | { readonly kind: "norm"; readonly path: string; readonly size: number; readonly bias: boolean };

/** A kind of model: its modules, and its forward pass up to the final norm. */
export interface Family {
  readonly name: string;
  /** Every module, in the order of the forward pass. */
  modules(config: ModelConfig): readonly ModuleSpec[];
  /** Tokens → hidden states [R, T, d] after the final norm. `tableLength`: at least the positions that
   *  can occur and the tokens of a row. */
  forward(config: ModelConfig, ctx: ForwardContext, tokens: TokenInputs, tableLength: number): Value;
  /** Hidden states [..., d] → logits over the vocabulary or, of an encoder's first tokens, over its labels. */
  logits(ctx: ForwardContext, hidden: Value): Value;
}

/** What a family of encoders needs of its configuration. @throws FormatError for a decoder's */
export function encoderOf({ encoder, architecture }: ModelConfig): EncoderConfig {
  if (encoder) return encoder;
  throw new FormatError("model", `${architecture} is no encoder`);
}

/** The layer that puts out logits. */
export function outputModule(
  modules: readonly ModuleSpec[],
): Extract<ModuleSpec, { kind: "linear" }> | undefined {
  return modules.filter((m) => m.kind === "linear").findLast((m) => m.isOutput);
}

/** A weight that a model needs: path, shape. */
export interface WeightSpec {
  readonly path: string;
  readonly shape: readonly number[];
  readonly module: ModuleSpec;
}

/** Weights of a module, in [out, in] orientation; none for an output layer that shares the embedding. */
export function moduleWeights(module: ModuleSpec): WeightSpec[] {
  const spec = (suffix: string, shape: readonly number[]): WeightSpec => ({
    path: `${module.path}.${suffix}`,
    shape,
    module,
  });
  switch (module.kind) {
    case "embedding":
      return [spec("weight", [module.count, module.size])];
    case "norm":
      return [spec("weight", [module.size]), ...(module.bias ? [spec("bias", [module.size])] : [])];
    case "linear":
      return [
        ...(module.tiedTo ? [] : [spec("weight", [module.outSize, module.inSize])]),
        ...(module.bias ? [spec("bias", [module.outSize])] : []),
      ];
  }
}

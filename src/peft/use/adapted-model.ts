import type { ModelConfig } from "../../formats/model.ts";
import { add } from "../../graph/ops/index.ts";
import { int32s } from "../../graph/ops/reduce.ts";
import { enterModule, input, placing, type Value } from "../../graph/value.ts";
import { type AttentionStrategy, baseContext, type WeightLookup } from "../../models/base-context.ts";
import type { ForwardContext, SegmentStrategy, TokenInputs } from "../../models/context.ts";
import type { Family, ModuleSpec } from "../../models/family.ts";
import type { Method, MethodInputs, Trainable } from "../method.ts";
import { parameterCount, viewsOf } from "../parameters.ts";

/** A model with its adaptation: what graphs are built from. */
export interface AdaptedModel {
  readonly config: ModelConfig;
  readonly family: Family;
  readonly modules: readonly ModuleSpec[];
  readonly frozen: WeightLookup;
  readonly methods: readonly Method[];
  /** Positions that can occur. */
  readonly positionCount: number;
  /** Tokens that a row of a packed batch can hold: more than positions, where examples share a row. */
  readonly rowTokens: number;
}

/** Every trainable of a model's methods, in the order of the flat vector θ. */
export function trainablesOf(methods: readonly Method[]): readonly Trainable[] {
  return methods.flatMap((m) => m.trainables);
}

/** Positions that a model has left for tokens, beside those that methods take in front of them. */
export function positionRoom(config: ModelConfig, methods: readonly Method[]): number {
  return config.maxPositions - methods.reduce((n, m) => n + m.positionOffset, 0);
}

/** Builds a graph of an adapted model. θ [|Θ|] is its input `theta`, and each trainable a view of that; without methods nothing
 *  asks for it. `ids`: tokens, int32 [R, T]; `noise`: as in `MethodInputs`. */
export function adaptedGraph<T>(
  { methods }: Pick<AdaptedModel, "methods">,
  { ids, noise = null }: { readonly ids: Value; readonly noise?: Value | null },
  build: (inputs: MethodInputs, theta: Value) => T,
): T {
  const trainables = trainablesOf(methods);
  const theta = input("theta", "float32", [parameterCount(trainables)]);
  const views = trainables.length > 0 ? viewsOf(theta, trainables) : new Map<string, Value>();
  return placing(() => build({ trainable: (name) => views.get(name) as Value, noise, ids }, theta));
}

/** The forward context of an adapted model: each method wraps the one before; replaced weights are looked up first. Methods
 *  with virtual tokens come last, whatever the order of the list: only they see ids beyond the vocabulary, and activations
 *  that they replace stay so. `joins`: as in `baseContext`; for graphs without gradients. */
export function adaptedContext(
  model: Pick<AdaptedModel, "modules" | "frozen" | "methods">,
  inputs: MethodInputs,
  attend: AttentionStrategy,
  segment?: SegmentStrategy,
  joins = false,
): ForwardContext {
  const lookup: WeightLookup = (path) => {
    for (const m of model.methods) {
      const value = m.replace(path, inputs);
      if (value) return value;
    }
    return model.frozen(path);
  };
  const addsTokens = (m: Method): boolean => m.virtualTokens !== null;
  const order = [...model.methods.filter((m) => !addsTokens(m)), ...model.methods.filter(addsTokens)];
  return placed(
    order.reduce(
      (ctx, m) => keptJoins(ctx, m.wrap(ctx, inputs)),
      baseContext(model.modules, lookup, attend, segment, joins),
    ),
  );
}

/** A method that changes `linear` and says nothing of `joined` has none. */
function keptJoins(before: ForwardContext, wrapped: ForwardContext): ForwardContext {
  const isStale = wrapped.linear !== before.linear && wrapped.joined === before.joined;
  return isStale ? { ...wrapped, joined: () => null } : wrapped;
}

/** The context with every node that is made in it marked with its module. What a family does between two calls belongs to the
 *  first of them. */
function placed(ctx: ForwardContext): ForwardContext {
  const at = <T>(path: string, build: () => T): T => {
    enterModule(path);
    return build();
  };
  return {
    weight: (path) => at(path.replace(/\.(weight|bias)$/, ""), () => ctx.weight(path)),
    linearWeights: (path) => at(path, () => ctx.linearWeights(path)),
    linear: (path, x) => at(path, () => ctx.linear(path, x)),
    joined: (paths, x) => at(paths[0] as string, () => ctx.joined(paths, x)),
    embedding: (path, ids) => at(path, () => ctx.embedding(path, ids)),
    attention: (path, ...rest) => at(`${path}.attention`, () => ctx.attention(path, ...rest)),
    output: (path, x) => at(path, () => ctx.output(path, x)),
    segment: ctx.segment,
  };
}

/** Hidden states [R, T, d] of an adapted model. Positions start after those that its methods put in front of every token.
 *  `tableLength`: as in `Family.forward`, without those. */
export function forwardAdapted(
  model: Pick<AdaptedModel, "config" | "family" | "methods">,
  ctx: ForwardContext,
  tokens: TokenInputs,
  tableLength: number,
): Value {
  const offset = model.methods.reduce((n, m) => n + m.positionOffset, 0);
  const positions = offset === 0 ? tokens.positions : add(tokens.positions, int32s([offset]));
  return model.family.forward(model.config, ctx, { ...tokens, positions }, tableLength + offset);
}

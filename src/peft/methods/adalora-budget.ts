import { InputError } from "../../errors.ts";
import { add, concat, mean, mul, reshape, scale, sign, split, sub } from "../../graph/ops/index.ts";
import { int64s } from "../../graph/ops/reduce.ts";
import { apply, applyMany, scalarConstant, type Value } from "../../graph/value.ts";
import { sizeOf } from "../../tensor/tensor.ts";
import type { AfterUpdate, Trainable, UpdatedState } from "../method.ts";
import type { AdaLoraOptions } from "./adalora-options.ts";

/** When ranks fall. */
export type BudgetOptions = Pick<AdaLoraOptions, "rankWarmupSteps" | "rankFinalSteps" | "rankInterval">;

/** Names of a module's triplets. */
export interface TripletNames {
  readonly a: string;
  readonly b: string;
  readonly e: string;
}

const IMPORTANCE = "adalora.importance";
const UNCERTAINTY = "adalora.uncertainty";
const MASK = "adalora.mask";
/** Decays of both running means (PEFT's beta1 and beta2). */
const DECAY = 0.85;

/** State of the choice of ranks: running means of every element's importance and its uncertainty, and which triplets the
 *  last choice kept. */
export function budgetTrainables(triplets: readonly Trainable[], count: number): Trainable[] {
  const size = triplets.reduce((n, t) => n + sizeOf(t.shape), 0);
  const filled = (name: string, length: number, value: number): Trainable => ({
    name,
    shape: [length],
    init: () => new Float32Array(length).fill(value),
    fixed: true,
  });
  return [filled(IMPORTANCE, size, 0), filled(UNCERTAINTY, size, 0), filled(MASK, count, 1)];
}

/** What is to be done after a step: 0 or 1 each, and how many triplets go. */
interface Phase extends Readonly<Record<string, number>> {
  /** Importance is measured. */
  readonly measure: number;
  /** Triplets are chosen anew: the `dropped` least important go. */
  readonly choose: number;
  readonly dropped: number;
  /** The last choice stays in force. */
  readonly hold: number;
}

/** The schedule of the budget (AdaLoRA, arXiv 2303.10512, eq. 12): all triplets at first, a cubic fall to the target, the
 *  target. Steps as PEFT's `update_and_allocate` counts them.
 *  @throws InputError if no step is left for the fall */
export function budgetPhase(
  { rankWarmupSteps, rankFinalSteps, rankInterval }: BudgetOptions,
  triplets: { readonly first: number; readonly target: number },
  step: number,
  steps: number,
): Phase {
  const start = rankWarmupSteps ?? Math.floor(steps / 10);
  const end = steps - (rankFinalSteps ?? Math.floor(steps / 5));
  if (start >= end) {
    const message = `${start} steps before and ${steps - end} after the fall of ranks leave none of ${steps} for it`;
    throw new InputError("the training options do not fit the run", [{ where: "rankWarmupSteps", message }]);
  }
  const rest = 1 - (step - start) / (end - start);
  const budget = Math.trunc((triplets.first - triplets.target) * rest ** 3 + triplets.target);
  const isDue = step > start && step <= end && (step % rankInterval === 0 || step === end);
  const dropped = isDue ? triplets.first - budget : 0;
  const flag = (is: boolean): number => (is ? 1 : 0);
  return { measure: flag(step < end), choose: flag(dropped > 0), dropped, hold: flag(step > end) };
}

function absolute(x: Value): Value {
  return mul(x, sign(x));
}

/** from + share · (to − from). */
function towards(from: Value, to: Value, share: Value): Value {
  return add(from, mul(share, sub(to, from)));
}

/** The k-th smallest element of x [N], k ≥ 1 a float scalar. */
function kthSmallest(x: Value, k: Value): Value {
  const size = x.shape[0] as number;
  const types = [
    { dtype: "float32", shape: [size] },
    { dtype: "int64", shape: [size] },
  ] as const;
  const [ascending] = applyMany("TopK", [x, int64s([size])], types, { axis: 0, largest: 0, sorted: 1 }, null);
  const one = scalarConstant(1);
  const index = apply("Cast", [sub(apply("Max", [k, one], [], {}, null), one)], [], { to: 6 }, null, "int32");
  return apply("Gather", [ascending as Value, index], [], { axis: 0 }, null);
}

/** Score of each triplet [rank]: that of its singular value and the means of its vectors' (eq. 7). */
function tripletScores(a: Value, b: Value, e: Value): Value {
  return add(reshape(e, [e.shape[0] as number]), add(mean(a, [1]), mean(b, [0])));
}

function flatOf(names: readonly string[], of: (name: string) => Value): Value {
  return concat(
    names.map((n) => {
      const value = of(n);
      return reshape(value, [sizeOf(value.shape as number[])]);
    }),
    0,
  );
}

/** Importance |w · dL/dw|, its running mean and the mean of its deviation (eq. 8 to 10). */
function measured(names: readonly string[], state: UpdatedState): { importance: Value; uncertainty: Value } {
  const now = absolute(mul(flatOf(names, state.trainable), flatOf(names, state.gradient)));
  const share = scale(state.scalar("measure"), 1 - DECAY);
  const importance = towards(state.trainable(IMPORTANCE), now, share);
  const deviation = absolute(sub(now, importance));
  return { importance, uncertainty: towards(state.trainable(UNCERTAINTY), deviation, share) };
}

/** The choice of triplets after each update: the singular values of those that are dropped become 0. */
export function budgetUpdate(
  modules: readonly TripletNames[],
  options: BudgetOptions,
  triplets: { readonly first: number; readonly target: number },
): AfterUpdate {
  const names = modules.flatMap((m) => [m.a, m.b, m.e]);
  return {
    scalars: (step, steps) => budgetPhase(options, triplets, step, steps),
    apply: (state) => {
      const { importance, uncertainty } = measured(names, state);
      const shapes = names.map((n) => state.trainable(n).shape as readonly number[]);
      const pieces = split(mul(importance, uncertainty), shapes.map(sizeOf), 0);
      const part = (i: number): Value => reshape(pieces[i] as Value, shapes[i] as readonly number[]);
      const scores = concat(
        modules.map((_, i) => tripletScores(part(3 * i), part(3 * i + 1), part(3 * i + 2))),
        0,
      );
      const threshold = kthSmallest(scores, state.scalar("dropped"));
      const above = apply("Greater", [scores, threshold], scores.shape, {}, null, "bool");
      const kept = apply("Cast", [above], scores.shape, { to: 1 }, null, "float32");
      const mask = towards(state.trainable(MASK), kept, state.scalar("choose"));
      const inForce = add(state.scalar("choose"), state.scalar("hold"));
      const factors = towards(scalarConstant(1), mask, inForce);
      const ranks = modules.map((m) => state.trainable(m.e).shape[0] as number);
      const factorsOf = split(factors, ranks, 0);
      const values = modules.map((m, i): [string, Value] => {
        const e = state.trainable(m.e);
        return [m.e, mul(e, reshape(factorsOf[i] as Value, e.shape))];
      });
      return new Map([...values, [IMPORTANCE, importance], [UNCERTAINTY, uncertainty], [MASK, mask]]);
    },
  };
}

import { createOptimizer } from "../optim/table.ts";
import { parameterCount } from "../peft/parameters.ts";
import { type AdaptedModel, trainablesOf } from "../peft/use/adapted-model.ts";
import type { KeptPart } from "../runtime/backend.ts";
import type { Runtime, Session } from "../runtime/runtime.ts";
import { floats, scalar, type Tensor } from "../tensor/tensor.ts";
import { rateFactors, squaresGraph, stretchGraph, type UpdateOptions, updateGraph } from "./update-graphs.ts";

/** Longer states are updated in stretches: the update's dozen vectors, and its outputs beside the state, would take several
 *  times the memory of the state itself. */
export const LONGEST_WHOLE: number = 2 ** 24;
const STRETCH = 2 ** 20;

/** State that an update changes, by the names under which the runtime keeps it. */
function keptNames(options: UpdateOptions): readonly string[] {
  return ["theta", ...createOptimizer(options).vectors, "gradient"];
}

function carries(names: readonly string[]): Record<string, string> {
  return Object.fromEntries(names.map((name) => [`${name}.next`, name]));
}

/** Numbers that change with the step. */
export interface UpdateScalars {
  readonly learningRate: Tensor;
  /** Those of the optimizer, by the names of the graph's inputs. */
  readonly optimizer: Readonly<Record<string, Tensor>>;
  /** Loss of the window. */
  readonly loss: number;
  /** Those of methods. */
  readonly others: Readonly<Record<string, Tensor>>;
}

/** Changes the state in the runtime by one update from the summed gradient, and clears that. Nothing is kept where loss,
 *  gradient or the parameters to be are not numbers. */
export interface Updater {
  apply(scalars: UpdateScalars): Promise<{ readonly gradNorm: number; readonly isKept: boolean }>;
  close(): Promise<void>;
}

/** The state is updated in stretches; methods that work on the whole of it after an update are not among those that train
 *  so much. */
export function isStretched(
  { methods }: Pick<AdaptedModel, "methods">,
  longest: number = LONGEST_WHOLE,
): boolean {
  return parameterCount(trainablesOf(methods)) > longest && methods.every((m) => m.afterUpdate === null);
}

/** Sessions keep the memory of one run for the next. Where the parameters are many, what one run leaves in a memory pool would be
 *  several times as much as them. */
export function keepsArena(model: AdaptedModel): boolean {
  return !isStretched(model);
}

/** Loads the update's graphs. `sizes`: other lengths than the usual ones, for tests. */
export function createUpdater(
  runtime: Runtime,
  model: AdaptedModel,
  options: UpdateOptions,
  sizes: { readonly longest: number; readonly stretch: number } = {
    longest: LONGEST_WHOLE,
    stretch: STRETCH,
  },
): Promise<Updater> {
  return isStretched(model, sizes.longest)
    ? stretchedUpdater(runtime, model, options, sizes.stretch)
    : wholeUpdater(runtime, model, options);
}

async function wholeUpdater(runtime: Runtime, model: AdaptedModel, options: UpdateOptions): Promise<Updater> {
  const carry = carries(keptNames(options));
  const session = await runtime.load(updateGraph(model, options), { keeps: Object.keys(carry) });
  return {
    apply: async ({ learningRate, optimizer, loss, others }) => {
      const out = await session.run(
        { learningRate, ...optimizer, ...others, loss: scalar(loss) },
        { fetch: ["gradNorm", "finite"], carry, carryIf: "finite" },
      );
      return { gradNorm: Number(out.gradNorm?.data[0]), isKept: out.finite?.data[0] === 1 };
    },
    close: () => session.close(),
  };
}

/** Three passes: the gradient's norm, then the norm of the parameters to be, then the same again, kept. So the state is
 *  either changed as a whole or not at all. */
async function stretchedUpdater(
  runtime: Runtime,
  model: AdaptedModel,
  options: UpdateOptions,
  stretch: number,
): Promise<Updater> {
  const size = parameterCount(trainablesOf(model.methods));
  const rates = rateFactors(model);
  if (rates) await runtime.put({ rates: floats(rates, [size]) });
  const lengths = new Set([stretch, size % stretch].filter((n) => n > 0 && n <= size));
  const squares = new Map<number, Session>();
  const steps = new Map<number, Session>();
  for (const n of lengths) {
    squares.set(n, await runtime.load(squaresGraph(n)));
    const keeps = Object.keys(carries(keptNames(options)));
    steps.set(n, await runtime.load(stretchGraph(n, rates !== null, options), { keeps }));
  }
  const kept = keptNames(options);
  const names = rates ? [...kept, "rates"] : kept;
  const sweep = async (
    sessions: ReadonlyMap<number, Session>,
    feeds: Readonly<Record<string, Tensor>>,
    carry: Readonly<Record<string, string>>,
  ): Promise<number> => {
    let sum = 0;
    for (let from = 0; from < size; from += stretch) {
      const part: KeptPart = { names, from, to: Math.min(size, from + stretch) };
      const session = sessions.get(part.to - from) as Session;
      const out = await session.run(feeds, { fetch: ["squares"], carry, part });
      sum += Number(out.squares?.data[0]);
    }
    return sum;
  };
  return {
    apply: async ({ learningRate, optimizer, loss }) => {
      const gradNorm = Math.sqrt(await sweep(squares, {}, {}));
      const feeds = {
        learningRate,
        ...optimizer,
        ...(options.clipNorm === null ? {} : { norm: scalar(gradNorm) }),
      };
      const isKept = Number.isFinite(loss + gradNorm + (await sweep(steps, feeds, {})));
      if (isKept) await sweep(steps, feeds, carries(kept));
      return { gradNorm, isKept };
    },
    close: async () => {
      for (const session of [...squares.values(), ...steps.values()]) await session.close();
    },
  };
}

import { InputError, UnsupportedError } from "../errors.ts";
import { publicModelName } from "../hub/known-names.ts";
import { openSource } from "../models/base-model.ts";
import { familyOf } from "../models/families.ts";
import { missingWeights } from "../models/new-head.ts";
import { createOptimizer } from "../optim/table.ts";
import type { Method } from "../peft/method.ts";
import { createMethods, METHOD_NAMES } from "../peft/methods/table.ts";
import { trainedCount } from "../peft/parameters.ts";
import { type TrainOptions, trainConfig } from "../train/config/config.ts";
import { trainingUse } from "../train/plan.ts";
import { type StateResources, stateResources } from "../train/resources.ts";
import { taskOf } from "../train/tasks/table.ts";

/** What a method would cost on a model. */
export interface MethodCost {
  readonly method: string;
  readonly trainableParameters: number;
  readonly resources: StateResources;
}

/** The cost of every method that can train a model (or of `methods`, combinations among them), with options as for training.
 *  Only headers are read, nothing is fetched.
 *  @throws NotFoundError, FormatError, UnsupportedError for the model; InputError if options or a method do not fit it */
export async function methodCosts(
  model: string,
  options: TrainOptions = {},
  methods?: readonly string[],
): Promise<readonly MethodCost[]> {
  const source = await openSource(model, { offline: true });
  try {
    const family = familyOf(source.config.family);
    const modules = family.modules(source.config);
    const stored = new Map(source.weights.map((w) => [w.path, w.shape]));
    const newWeights = missingWeights(modules, (path) => stored.get(path) ?? null).map((w) => w.path);
    const shape = { config: source.config, family, modules, newWeights };
    const task = taskOf(shape);
    const config = trainConfig({ model, ...options, method: METHOD_NAMES.join("+") });
    const use = trainingUse(shape, task);
    const create = (method: string): readonly Method[] => {
      const parts = createMethods(method, config, shape, use);
      task.checkMethods(shape, parts);
      return parts;
    };
    const fits = (method: string): boolean =>
      source.config.encoder === undefined || trains(() => create(method));
    return (methods ?? METHOD_NAMES.filter(fits)).map((method) => {
      const parts = create(method);
      const trainableParameters = trainedCount(parts.flatMap((m) => m.trainables));
      const resources = stateResources(
        shape,
        parts,
        publicModelName(source.name),
        createOptimizer(config).vectors,
      );
      return { method, trainableParameters, resources };
    });
  } finally {
    await source.close();
  }
}

/** Not every method can train an encoder with its head. */
function trains(create: () => unknown): boolean {
  try {
    create();
    return true;
  } catch (error) {
    if (error instanceof InputError || error instanceof UnsupportedError) return false;
    throw error;
  }
}

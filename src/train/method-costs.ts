import { publicModelName } from "../formats/resolve.ts";
import { openSource } from "../models/base-model.ts";
import { familyOf } from "../models/families.ts";
import { createMethods, METHOD_NAMES } from "../peft/methods.ts";
import { trainedCount } from "../peft/parameters.ts";
import { type TrainOptions, trainConfig } from "./config.ts";
import { methodOptionsOf } from "./plan.ts";
import { type StateResources, stateResources } from "./resources.ts";

/** What a method would cost on a model. */
export interface MethodCost {
  readonly method: string;
  readonly trainableParameters: number;
  readonly resources: StateResources;
}

/** The cost of every method (or of `methods`, combinations among them) on a model, with options as for training. Only headers
 *  are read, nothing is fetched.
 *  @throws NotFoundError, FormatError, UnsupportedError for the model; InputError if options or a method do not fit it */
export async function methodCosts(
  model: string,
  options: TrainOptions = {},
  methods: readonly string[] = METHOD_NAMES,
): Promise<readonly MethodCost[]> {
  const source = await openSource(model, { offline: true });
  try {
    const { config } = source;
    const family = familyOf(config.family);
    const shape = { config, family, modules: family.modules(config) };
    const choice = methodOptionsOf(trainConfig({ model, ...options }));
    return methods.map((method) => {
      const parts = createMethods(method, choice, shape);
      const trainableParameters = trainedCount(parts.flatMap((m) => m.trainables));
      const resources = stateResources(shape, parts, publicModelName(source.name));
      return { method, trainableParameters, resources };
    });
  } finally {
    await source.close();
  }
}

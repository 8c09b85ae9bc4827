import { InputError } from "../../errors.ts";
import { hfTensorName } from "../../formats/names.ts";
import { resolveAdapter } from "../../hub/resolve.ts";
import type { BaseModel } from "../../models/base.ts";
import { resolveOptions } from "../../models/base-model.ts";
import { withAdapterText } from "../../models/model-text.ts";
import { withClassifier } from "../../models/new-head.ts";
import { labelsOf, type OpenAdapterOptions } from "../files/adapter.ts";
import { type Adaptation, createComposer } from "./active.ts";
import { type AdapterChoice, openChosen, pathsOf } from "./adapter-choice.ts";
import { type ChosenAdapters, textInUse } from "./chosen.ts";

/** A base model and the adapters on it. */
export interface AdaptedBase extends ChosenAdapters {
  /** An encoder has its adapter's labels. */
  readonly base: BaseModel;
  /** Those in use, as one; null for the base alone. */
  readonly adaptation: Adaptation | null;
}

/** Opens the chosen adapters on a base and makes one adaptation of those in use. An encoder gets the labels of its adapter's
 *  head.
 *  @throws as `openChosen` and `Composer.compose`; InputError if an encoder is given several adapters, or has no head, neither
 *  by itself nor by the adapter in use */
export async function adaptBase(
  base: BaseModel,
  choice: AdapterChoice,
  access: OpenAdapterOptions = {},
): Promise<AdaptedBase> {
  const fitted = base.config.encoder ? await fittedEncoder(base, choice, access) : { base, choice };
  const chosen = await openChosen(fitted.choice, fitted.base, access);
  const adaptation = createComposer(fitted.base).compose(chosen.opened, chosen.factors);
  requireHead(fitted.base, adaptation);
  return { ...chosen, base: withAdapterText(fitted.base, textInUse(chosen)), adaptation };
}

/** An encoder with its adapter's labels, and the adapter by its path on disk. */
async function fittedEncoder(
  base: BaseModel,
  choice: AdapterChoice,
  access: OpenAdapterOptions,
): Promise<{ readonly base: BaseModel; readonly choice: AdapterChoice }> {
  const paths = pathsOf(choice);
  if (paths.size > 1)
    throw new InputError("the adapters cannot be loaded", [
      {
        where: [...paths.keys()].join(", "),
        message: `expected one adapter, got ${paths.size}: each brings its own labels and head to an encoder (${base.config.architecture})`,
      },
    ]);
  const [entry] = paths;
  if (entry === undefined) return { base, choice };
  const [name, given] = entry;
  const path = await resolveAdapter(given, resolveOptions(access));
  const { adapter: _, ...others } = choice;
  return {
    base: await withAdapterLabels(base, path),
    choice: { ...others, adapters: { [name]: path } },
  };
}

/** An encoder with the labels of an adapter's head; a decoder as it is. @throws FormatError */
export async function withAdapterLabels(base: BaseModel, path: string): Promise<BaseModel> {
  const classifier = await labelsOf(path, base);
  return classifier === null ? base : withClassifier(base, classifier);
}

/** @throws InputError listing the weights of a head that neither base nor adaptation has */
function requireHead({ newWeights, config, source }: BaseModel, adaptation: Adaptation | null): void {
  const trained = new Set(adaptation?.methods.flatMap((m) => m.trainables.map((t) => t.name)));
  const missing = newWeights.filter((weight) => !trained.has(weight));
  if (missing.length === 0) return;
  const problems = missing.map((weight) => ({
    where: hfTensorName(config.family, weight),
    message: `is not in the model${adaptation === null ? "" : " and not in the adapter"}`,
  }));
  throw new InputError(`${source.name} has no head to classify with; one comes with training:`, problems);
}

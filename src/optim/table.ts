import { z } from "zod";
import { ownersOf, type SettingsOf, setting } from "../options/setting.ts";
import { type AdamWOptions, adamwKind } from "./adamw.ts";
import type { Optimizer, OptimizerKind } from "./optimizer.ts";
import { OPTIMIZER } from "./schedule.ts";
import { type SgdOptions, sgdKind } from "./sgd.ts";

/** Every optimizer, one line each; the first is the default. */
const OPTIMIZERS: readonly OptimizerKind[] = [adamwKind, sgdKind];

const NAMES = OPTIMIZERS.map((kind) => kind.name);

/** Which optimizer, and the constants of all; each reads its own. */
export interface OptimizerOptions extends AdamWOptions, SgdOptions {
  readonly optimizer: string;
}

type OptimizerConstants = Omit<OptimizerOptions, "optimizer">;

/** Which optimizer, and those of its constants that are not as usual. */
export type OptimizerChoice = Pick<OptimizerOptions, "optimizer"> & Partial<OptimizerConstants>;

const own = Object.assign({}, ...OPTIMIZERS.map((kind) => kind.settings)) as SettingsOf<OptimizerConstants>;

export const optimizerSettings: SettingsOf<OptimizerOptions> = {
  optimizer: setting(z.enum(NAMES), NAMES[0] as string, {
    group: OPTIMIZER,
    description: "how parameters follow the gradient",
    knownAs: ["optim"],
  }),
  ...own,
};

/** The optimizers that have an option; none for options of other things. */
export function optimizersWith(option: string): readonly string[] {
  return ownersOf(OPTIMIZERS, option);
}

/** The optimizer that options name; its constants that are missing are as usual. */
export function createOptimizer(options: OptimizerChoice): Optimizer {
  const kind = OPTIMIZERS.find(({ name }) => name === options.optimizer) as OptimizerKind;
  return kind.create(z.object(kind.settings).parse(options));
}

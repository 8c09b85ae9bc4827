import type { Setting, SettingsOf } from "../options/setting.ts";
import type { Method } from "./method.ts";
import type { ModelShape } from "./model-shape.ts";

/** What training is for, as far as it decides what a method trains. */
export interface TrainingUse {
  /** PEFT's name of the task, `CAUSAL_LM`; null for one that PEFT does not have. */
  readonly taskType: string | null;
  /** Hugging Face's names of modules that are trained whole beside any method: an encoder's head, and what its checkpoint lacks. */
  readonly wholeModules: readonly string[];
}

/** A decoder that learns to write. */
export const LANGUAGE_MODELLING: TrainingUse = { taskType: "CAUSAL_LM", wholeModules: [] };

/** What a method's file says of it. */
interface MethodParts<O> {
  readonly name: string;
  /** One line for help texts. */
  readonly summary: string;
  /** PEFT's `peft_type` of its files; null where PEFT has no such method (then ours name it in `lowrank_method`). */
  readonly peftType: string | null;
  /** Its options, each a flag, a key of config files and a field of `TrainOptions`. */
  readonly settings: SettingsOf<O>;
  /** A method for training. @throws InputError if the options do not fit the model */
  create(options: O, shape: ModelShape, use: TrainingUse): Method;
  /** The method that an adapter_config.json describes, with what was passed over in it. `where` names the file.
   *  @throws InputError, UnsupportedError */
  open(
    config: Readonly<Record<string, unknown>>,
    shape: ModelShape,
    where: string,
  ): { readonly method: Method; readonly warnings: readonly string[] };
}

/** One kind of method, whatever its options are. */
export interface MethodKind extends Omit<MethodParts<never>, "settings" | "create"> {
  readonly settings: Readonly<Record<string, Setting<unknown>>>;
  /** `options` holds those of the method, checked, among others. */
  create(options: object, shape: ModelShape, use: TrainingUse): Method;
}

/** A kind of method, for the table. */
export function methodKind<O extends object>(parts: MethodParts<O>): MethodKind {
  return { ...parts, create: (options, shape, use) => parts.create(options as O, shape, use) };
}

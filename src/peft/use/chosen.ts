import { InputError } from "../../errors.ts";
import type { AdapterText } from "../../formats/peft/text.ts";
import type { OpenedAdapter } from "../files/parts.ts";
import type { Factors } from "./active.ts";

/** Name of an adapter that was given none, as PEFT's. */
export const DEFAULT_ADAPTER = "default";

/** Adapters that are open. */
export interface ChosenAdapters {
  readonly opened: ReadonlyMap<string, OpenedAdapter>;
  readonly factors: Factors;
}

/** The text of the first adapter in use. */
export function textInUse({ opened, factors }: ChosenAdapters): AdapterText | null {
  const [first] = factors.keys();
  return (first === undefined ? undefined : opened.get(first)?.text) ?? null;
}

/** @throws InputError listing every name that is not among the known ones */
export function checkNames(names: readonly string[], known: readonly string[]): void {
  const list = known.length > 0 ? known.join(", ") : "none";
  const problems = names
    .filter((name) => !known.includes(name))
    .map((name) => ({ where: name, message: `no adapter of this name is loaded; loaded: ${list}` }));
  if (problems.length > 0) throw new InputError("these adapters cannot be used:", problems);
}

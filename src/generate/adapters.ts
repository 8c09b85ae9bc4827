import { InputError } from "../errors.ts";
import type { OpenedAdapter } from "../peft/files/parts.ts";
import type { Factors } from "../peft/use/active.ts";
import { type ChosenAdapters, checkNames } from "../peft/use/chosen.ts";

/** Adapters of a loaded model, and which of them are in use. A value: changes make another, with the same `factors` where
 *  what is in use stays. */
export interface AdapterState extends ChosenAdapters {
  /** In use before `disable`; null where they are not disabled. */
  readonly suspended: Factors | null;
}

/** What a change of adapters makes of a state. @throws InputError */
export type Change = (state: AdapterState) => AdapterState;

/** Uses adapters at full strength. @throws InputError for unknown names */
export function using(names: string | readonly string[]): Change {
  return weighing(Object.fromEntries([names].flat().map((name) => [name, 1])));
}

/** Uses adapters with factors. @throws InputError for unknown names */
export function weighing(weights: Readonly<Record<string, number>>): Change {
  return ({ opened }) => {
    checkNames(Object.keys(weights), [...opened.keys()]);
    return { opened, factors: new Map(Object.entries(weights)), suspended: null };
  };
}

/** Adds an adapter without using it. @throws InputError if the name is taken */
export function adding(name: string, adapter: OpenedAdapter): Change {
  return (state) => {
    checkFree(name, state);
    return { ...state, opened: new Map([...state.opened, [name, adapter]]) };
  };
}

/** @throws InputError if an adapter cannot have this name */
export function checkFree(name: string, { opened }: ChosenAdapters): void {
  const message = name === "" ? "is empty" : opened.has(name) ? "is loaded already: unload it first" : null;
  if (message !== null)
    throw new InputError("an adapter cannot have this name:", [{ where: `"${name}"`, message }]);
}

/** Forgets an adapter; where it was in use, the others go on without it. @throws InputError for an unknown name */
export function removing(name: string): Change {
  return ({ opened, factors, suspended }) => {
    checkNames([name], [...opened.keys()]);
    const without = <T>(map: ReadonlyMap<string, T>): ReadonlyMap<string, T> =>
      map.has(name) ? new Map([...map].filter(([n]) => n !== name)) : map;
    return {
      opened: without(opened),
      factors: without(factors),
      suspended: suspended && without(suspended),
    };
  };
}

/** Puts one adapter (null: none) in the place of the one of this name, and uses it alone. */
export function replacing(name: string, adapter: OpenedAdapter | null): Change {
  return ({ opened }) => {
    const others = [...opened].filter(([n]) => n !== name);
    if (adapter === null) return { opened: new Map(others), factors: new Map(), suspended: null };
    return { opened: new Map([...others, [name, adapter]]), factors: new Map([[name, 1]]), suspended: null };
  };
}

/** The base alone, until `resuming`. */
export const suspending: Change = (state) => ({
  ...state,
  factors: new Map(),
  suspended: state.suspended ?? state.factors,
});

/** What was in use before `suspending`. */
export const resuming: Change = (state) => ({
  ...state,
  factors: state.suspended ?? state.factors,
  suspended: null,
});

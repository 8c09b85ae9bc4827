import type { Value } from "./values.ts";

/** Variables of a template, a macro, a pass of a loop. */
export interface Scope {
  readonly variables: Map<string, Value>;
  readonly parent: Scope | null;
}

export const innerScope = (parent: Scope): Scope => ({ variables: new Map(), parent });

export function lookUp(scope: Scope, name: string): Value | undefined {
  for (let at: Scope | null = scope; at !== null; at = at.parent) {
    const value = at.variables.get(name);
    if (value !== undefined) return value;
  }
  return undefined;
}

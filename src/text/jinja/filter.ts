import type { Runtime } from "./state.ts";
import type { Args, Value } from "./values.ts";

/** A filter behind `|`. */
export type Filter = (rt: Runtime, value: Value, args: Args) => Value;

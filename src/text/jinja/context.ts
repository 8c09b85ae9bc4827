import type { Budget } from "./budget.ts";
import type { CallArguments, Value } from "./values.ts";

/** What filters, tests and functions may ask of the rendering that they run in. */
export interface Context {
  readonly budget: Budget;
  /** `value.name` as a template has it. */
  attribute(value: Value, name: string): Value;
  /** `value[key]`. */
  item(value: Value, key: Value): Value;
  filter(name: string, value: Value, args: CallArguments): Value;
  test(name: string, value: Value, args: CallArguments): boolean;
  /** Everything below a value of the data counts as read. */
  readWhole(value: Value): void;
}

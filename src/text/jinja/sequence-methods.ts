import { fail } from "./limits.ts";
import { bind, intArg, type Runtime } from "./state.ts";
import { type Args, equals, func, int, type Sequence, undef, type Value } from "./values.ts";

const CHANGING = new Set(["append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove"]);

/** A method of list or tuple; those that change a list are undefined, as in the sandbox. */
export function sequenceMethod(rt: Runtime, self: Sequence, name: string): Value | undefined {
  if (self.kind === "list" && CHANGING.has(name))
    return undef(`access to attribute '${name}' of 'list' object is unsafe.`);
  switch (name) {
    case "count":
      return func("count", (args) => int(count(rt, self, args)));
    case "index":
      return func("index", (args) => int(indexOf(rt, self, args)));
    case "copy":
      return self.kind === "list" ? func("copy", () => self) : undefined;
    default:
      return undefined;
  }
}

function count(rt: Runtime, self: Sequence, args: Args): number {
  const [item] = bind("count", args, ["value"], 1);
  return self.items.filter((i) => equals(rt.limits, i, item as Value)).length;
}

function indexOf(rt: Runtime, self: Sequence, args: Args): number {
  const [item, start, stop] = bind("index", args, ["value", "start", "stop"], 1);
  const { length } = self.items;
  const clamp = (at: number): number => Math.max(0, Math.min(length, at < 0 ? at + length : at));
  for (let i = clamp(intArg(start, 0)); i < clamp(intArg(stop, length)); i++)
    if (equals(rt.limits, self.items[i] as Value, item as Value)) return i;
  return fail("the value is not in the list");
}

import { fail, tick } from "./limits.ts";
import type { Runtime } from "./state.ts";
import { textOf } from "./text.ts";
import {
  bool,
  equals,
  func,
  int,
  itemsOf,
  iterate,
  type Obj,
  sizeOf,
  tuple,
  undef,
  type Value,
} from "./values.ts";

/** A loop in progress: the items, and what the template sees as `loop`. */
export interface Loop {
  /** The next item; null at the end. */
  next(): Value | null;
  readonly object: Obj;
}

/** jinja2's LoopContext: looks ahead only when asked to.
 *  @param filtered Items that pass the loop's condition, where it has one.
 *  @param recurse What `loop(items)` does; null where the loop is not recursive. */
export function startLoop(
  rt: Runtime,
  items: Value,
  filtered: Iterator<Value> | null,
  recurse: ((items: Value) => Value) | null,
  depth: number,
): Loop {
  let iterator = filtered ?? iterate(items);
  let index0 = -1;
  let ahead: Value | null = null;
  let [before, current]: [Value | null, Value | null] = [null, null];
  let length: number | null = null;
  let changedValue: Value | null = null;

  const peek = (): Value | null => {
    if (ahead === null) {
      const next = iterator.next();
      ahead = next.done ? null : next.value;
    }
    return ahead;
  };
  const countAll = (): number => {
    if (filtered === null && items.kind !== "stream") return sizeOf(items);
    if (filtered === null && items.kind === "stream" && items.view !== null) return items.view.items.length;
    const rest = itemsOf(rt.limits, { kind: "stream", name: "generator", iterator, view: null });
    iterator = rest[Symbol.iterator]();
    return rest.length + index0 + 1 + (ahead === null ? 0 : 1);
  };
  const size = (): number => {
    length ??= items.kind === "undefined" ? 0 : countAll();
    return length;
  };
  const changed = (values: readonly Value[]): boolean => {
    const value = tuple(values);
    if (changedValue !== null && equals(rt.limits, changedValue, value)) return false;
    changedValue = value;
    return true;
  };
  const fields: Readonly<Record<string, () => Value>> = {
    index: () => int(index0 + 1),
    index0: () => int(index0),
    revindex: () => int(size() - index0),
    revindex0: () => int(size() - index0 - 1),
    first: () => bool(index0 === 0),
    last: () => bool(peek() === null),
    length: () => int(size()),
    depth: () => int(depth + 1),
    depth0: () => int(depth),
    previtem: () => (index0 === 0 ? null : before) ?? undef("there is no previous item"),
    nextitem: () => peek() ?? undef("there is no next item"),
    cycle: () =>
      func("cycle", ({ values }) => {
        if (values.length === 0) fail("no items for cycling given");
        return values[index0 % values.length] as Value;
      }),
    changed: () => func("changed", ({ values }) => bool(changed(values))),
  };
  const object: Obj = {
    kind: "object",
    name: "LoopContext",
    get: (name) => (Object.hasOwn(fields, name) ? fields[name]?.() : undefined),
    length: size,
    details: () => textOf(`${index0 + 1}/${size()}`),
    call({ values: [inner] }) {
      if (recurse === null || inner === undefined)
        return fail("The loop must have the 'recursive' marker to be called recursively.");
      return recurse(inner);
    },
  };
  const next = (): Value | null => {
    const item = peek();
    ahead = null;
    if (item === null) return null;
    tick(rt.limits, 1);
    index0++;
    [before, current] = [current, item];
    return item;
  };
  return { next, object };
}

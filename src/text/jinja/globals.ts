import { dictMethod } from "./dict-methods.ts";
import { fail } from "./limits.ts";
import { repr, toText } from "./print.ts";
import { bind, intArg, type Runtime, textArg } from "./state.ts";
import { strftime } from "./strftime.ts";
import { textOf } from "./text.ts";
import {
  type Args,
  type Dict,
  dict,
  func,
  itemsOf,
  NONE,
  type Obj,
  readEntry,
  type Value,
} from "./values.ts";

/** Most items of a range, as in jinja2's sandbox. */
const MAX_RANGE = 100_000;

/** What a template itself refuses, with its own message. */
export class Refusal extends Error {}

/** The functions that every template has. */
export function globalsOf(rt: Runtime): Map<string, Value> {
  const functions: Readonly<Record<string, (args: Args) => Value>> = {
    range,
    namespace: (args) => namespace(rt, args),
    cycler,
    joiner: (args) => joiner(args),
    lipsum: () => fail("the function 'lipsum' is not supported"),
    raise_exception(args) {
      const [message] = bind("raise_exception", args, ["message"], 1);
      throw new Refusal(toText(rt.limits, message as Value).text);
    },
    strftime_now(args) {
      const [format] = bind("strftime_now", args, ["format"], 1);
      return textOf(strftime(rt.now(), textArg(format).text));
    },
  };
  const named = Object.entries(functions).map(([name, call]) => [name, func(name, call)] as const);
  return new Map<string, Value>([...named, ["dict", dictObject(rt)], ["self", SELF]]);
}

/** Blocks of the template, which nothing can be done with here. */
const SELF: Obj = { kind: "object", name: "TemplateReference", get: () => undefined };

function dictObject(rt: Runtime): Obj {
  const fromKeys = dictMethod(rt, dict([]), "fromkeys");
  return {
    kind: "object",
    name: "TemplateDict",
    get: (name) => (name === "fromkeys" ? fromKeys : undefined),
    call: (args) => dictFrom(rt, args),
  };
}

function range(args: Args): Value {
  const values = bind("range", args, ["start", "stop", "step"], 1).filter((v) => v !== undefined);
  const numbers = values.map((v) => BigInt(intArg(v, 0)));
  const [start = 0n, stop = 0n, step = 1n] = numbers.length === 1 ? [0n, ...numbers] : numbers;
  if (step === 0n) fail("range() arg 3 must not be zero");
  const span = step > 0n ? stop - start : start - stop;
  const size = step > 0n ? step : -step;
  const length = span <= 0n ? 0n : (span + size - 1n) / size;
  if (length > BigInt(MAX_RANGE))
    fail(`Range too big. The sandbox blocks ranges larger than MAX_RANGE (${MAX_RANGE}).`);
  return { kind: "range", start, stop, step, length: Number(length) };
}

/** Python's `dict(…)`. */
function dictFrom(rt: Runtime, args: Args): Dict {
  const [from] = bind("dict", { ...args, named: new Map() }, ["mapping"]);
  const named = [...args.named].map(([name, value]) => [textOf(name), value] as const);
  return dict(
    [...(from === undefined ? [] : pairsOf(rt, from)), ...named],
    from?.kind === "dict" ? from.origin : undefined,
  );
}

function pairsOf(rt: Runtime, from: Value): (readonly [Value, Value])[] {
  if (from.kind === "dict") return [...from.entries.values()].map((e) => [e.key, readEntry(from, e)]);
  return itemsOf(rt.limits, from).map((pair) => {
    const items = itemsOf(rt.limits, pair);
    if (items.length !== 2) fail("dictionary update sequence elements need two items");
    return [items[0] as Value, items[1] as Value];
  });
}

function namespace(rt: Runtime, args: Args): Obj {
  const fields = new Map<string, Value>();
  const set = (name: string, value: Value): void => {
    if (name.startsWith("_"))
      fail(`Chat templates cannot store underscore-prefixed attributes on a namespace, but got '${name}'.`);
    fields.set(name, value);
  };
  for (const entry of dictFrom(rt, args).entries.values())
    set(entry.key.kind === "text" ? entry.key.text : fail("a namespace's names are strings"), entry.value);
  return {
    kind: "object",
    name: "Namespace",
    get: (name) => fields.get(name),
    set,
    details: () => repr(rt.limits, dict([...fields].map(([name, value]) => [textOf(name), value]))),
  };
}

function cycler(args: Args): Obj {
  const { values } = args;
  if (values.length === 0) fail("at least one item has to be provided");
  let at = 0;
  const current = (): Value => values[at] as Value;
  const next = (): Value => {
    const value = current();
    at = (at + 1) % values.length;
    return value;
  };
  const reset = (): Value => {
    at = 0;
    return NONE;
  };
  return {
    kind: "object",
    name: "Cycler",
    get(name) {
      if (name === "current") return current();
      return name === "next" ? func("next", next) : name === "reset" ? func("reset", reset) : undefined;
    },
  };
}

function joiner(args: Args): Obj {
  const [separator = textOf(", ")] = bind("joiner", args, ["sep"]);
  let isUsed = false;
  const call = (): Value => {
    if (isUsed) return separator;
    isUsed = true;
    return textOf("");
  };
  return { kind: "object", name: "Joiner", get: () => undefined, call };
}

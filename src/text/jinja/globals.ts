import { bind, integer, text } from "./arguments.ts";
import type { Budget } from "./budget.ts";
import { TemplateError } from "./errors.ts";
import { strftime } from "./strftime.ts";
import { textOf } from "./text.ts";
import { type CallArguments, Callable, Dict, List, Namespace, type Value } from "./values.ts";
import { str } from "./write.ts";

/** A template's own refusal, by `raise_exception`: the message stands as it is. */
export class Refusal extends TemplateError {}

/** As the sandbox of jinja2. */
const MAX_RANGE = 100_000;

function range({ positional }: CallArguments, budget: Budget): Value {
  const numbers = positional.map((value) => integer(value));
  const [start, stop, step] =
    numbers.length === 1 ? [0, numbers[0], 1] : [numbers[0], numbers[1], numbers[2] ?? 1];
  if (start === undefined || stop === undefined || numbers.length > 3)
    throw new TemplateError(`range expected 1 to 3 arguments, got ${numbers.length}`);
  if (step === 0) throw new TemplateError("range() arg 3 must not be zero");
  const count = Math.max(0, Math.ceil((stop - start) / step));
  if (count > MAX_RANGE)
    throw new TemplateError(`Range too big. The sandbox blocks ranges larger than MAX_RANGE (${MAX_RANGE}).`);
  budget.made(count);
  return new List(Array.from({ length: count }, (_, i) => BigInt(start + i * step)));
}

function pairs({ positional, named }: CallArguments): [Value, Value][] {
  const [given] = positional;
  const first =
    given instanceof Dict
      ? [...given.entries.values()]
      : given instanceof List
        ? given.items.map((pair): [Value, Value] => {
            const [key, value] = pair instanceof List ? pair.items : [];
            if (key === undefined || value === undefined) throw new TemplateError("dict: expected pairs");
            return [key, value];
          })
        : [];
  return [
    ...first.map(([key, value]): [Value, Value] => [key, value]),
    ...[...named].map(([key, value]): [Value, Value] => [textOf(key), value]),
  ];
}

function cycler({ positional }: CallArguments): Value {
  let at = 0;
  const current = (): Value => positional[at % Math.max(1, positional.length)] ?? null;
  return new Callable("cycler", () => null, [
    [
      "next",
      new Callable("next", () => {
        const value = current();
        at++;
        return value;
      }),
    ],
    [
      "reset",
      new Callable("reset", () => {
        at = 0;
        return null;
      }),
    ],
  ]);
}

function joiner({ positional }: CallArguments): Value {
  let isUsed = false;
  return new Callable("joiner", () => {
    const separator = isUsed ? (positional[0] ?? textOf(", ")) : textOf("");
    isUsed = true;
    return separator;
  });
}

/** The functions that every template has. */
export function globalFunctions(now: () => Date, budget: Budget): Map<string, Value> {
  const functions: Readonly<Record<string, (args: CallArguments) => Value>> = {
    range: (args) => range(args, budget),
    dict: (args) => new Dict(pairs(args)),
    namespace: (args) =>
      new Namespace(pairs(args).map(([key, value]): [string, Value] => [text(key).value, value])),
    raise_exception: (args) => {
      throw new Refusal(str(bind("raise_exception", args, ["message"]).message ?? null).value);
    },
    strftime_now: (args) =>
      textOf(strftime(text(bind("strftime_now", args, ["format"]).format).value, now())),
    cycler,
    joiner,
  };
  return new Map(Object.entries(functions).map(([name, call]) => [name, new Callable(name, call)]));
}

import { bind, flag, integer, optionalText, text } from "./arguments.ts";
import type { Budget } from "./budget.ts";
import { TemplateError } from "./errors.ts";
import {
  characterCount,
  characters,
  concat,
  EMPTY,
  lines,
  mapRuns,
  replace,
  slice,
  sourceOf,
  split,
  strip,
  Text,
  textOf,
  unitOffset,
  words,
} from "./text.ts";
import { type CallArguments, Dict, equals, itemsOf, List, orElse, type Value } from "./values.ts";
import { str } from "./write.ts";

type Bound = Readonly<Record<string, Value | undefined>>;

/** A method: the names of its parameters, and what it does. */
interface Method<Self> {
  readonly parameters: readonly string[];
  run(self: Self, args: Bound, budget: Budget, given: CallArguments): Value;
}

const method = <Self>(parameters: string, run: Method<Self>["run"]): Method<Self> => ({
  parameters: parameters === "" ? [] : parameters.split(" "),
  run,
});

const list = (items: readonly Value[]): List => new List(items);
const tuple = (...items: Value[]): List => new List(items, true);

/** Texts of a str or a tuple of them. */
function affixes(value: Value | undefined): string[] {
  return value instanceof List ? value.items.map((item) => text(item).value) : [text(value).value];
}

const upper = (self: Text): Text => mapRuns(self, (part) => part.toUpperCase());
const lower = (self: Text): Text => mapRuns(self, (part) => part.toLowerCase());

/** First letters large, the others small; `isStart`: whether a letter behind this character is a first one. */
function cased(self: Text, isStart: (before: string) => boolean): Text {
  let before = "";
  return mapRuns(self, (part) =>
    Array.from(part, (char) => {
      const shown = isStart(before) ? char.toUpperCase() : char.toLowerCase();
      before = char;
      return shown;
    }).join(""),
  );
}

/** Python's `title()`. */
export const title = (self: Text): Text => cased(self, (before) => !/\p{L}/u.test(before));
/** Python's `capitalize()`. */
export function capitalize(self: Text): Text {
  let isFirst = true;
  return mapRuns(self, (part) =>
    Array.from(part, (char) => {
      const shown = isFirst ? char.toUpperCase() : char.toLowerCase();
      isFirst = false;
      return shown;
    }).join(""),
  );
}

/** Every character passes, and there is one. */
const every =
  (pattern: RegExp) =>
  (self: Text): boolean =>
    self.length > 0 && Array.from(self.value).every((char) => pattern.test(char));

function hasCase(self: Text, isUpper: boolean): boolean {
  const { value } = self;
  return value !== value.toLowerCase() || value !== value.toUpperCase()
    ? value === (isUpper ? value.toUpperCase() : value.toLowerCase())
    : false;
}

function padded(
  self: Text,
  width: number,
  fill: string,
  side: "left" | "right" | "both",
  budget: Budget,
): Text {
  const missing = width - characterCount(self.value);
  if (missing <= 0) return self;
  budget.made(width);
  const left =
    side === "left" ? missing : side === "right" ? 0 : Math.floor(missing / 2) + (missing & width & 1);
  return concat([textOf(fill.repeat(left)), self, textOf(fill.repeat(missing - left))]);
}

function found(self: Text, args: Bound, isLast: boolean): number {
  const range = rangeOf(self, args);
  const inside = self.value.slice(range[0], range[1]);
  const at = isLast ? inside.lastIndexOf(text(args.sub).value) : inside.indexOf(text(args.sub).value);
  return at < 0 ? -1 : characterCount(self.value.slice(0, range[0] + at));
}

/** UTF-16 offsets of the arguments start and end. */
function rangeOf(self: Text, { start, end }: Bound): [number, number] {
  const count = characterCount(self.value);
  const bound = (value: Value | undefined, fallback: number): number => {
    const index = value === null ? fallback : integer(value, fallback);
    return unitOffset(self.value, Math.min(count, index < 0 ? Math.max(0, count + index) : index));
  };
  return [bound(start, 0), bound(end, count)];
}

function index(self: Text, args: Bound, isLast: boolean): bigint {
  const at = found(self, args, isLast);
  if (at < 0) throw new TemplateError("substring not found");
  return BigInt(at);
}

function parted(self: Text, separator: Text, isLast: boolean): Value {
  const at = isLast ? self.value.lastIndexOf(separator.value) : self.value.indexOf(separator.value);
  if (separator.length === 0) throw new TemplateError("empty separator");
  if (at < 0) return isLast ? tuple(EMPTY, EMPTY, self) : tuple(self, EMPTY, EMPTY);
  const end = at + separator.length;
  return tuple(slice(self, 0, at), slice(self, at, end), slice(self, end));
}

function splitBy(self: Text, args: Bound, budget: Budget, isFromRight: boolean): Value {
  budget.made(self.length);
  const separator = optionalText(args.sep);
  const limit = integer(args.maxsplit, -1);
  if (separator === null) return list(words(self, limit, isFromRight));
  if (separator.length === 0) throw new TemplateError("empty separator");
  return list(split(self, separator.value, limit, isFromRight));
}

function joined(self: Text, items: readonly Value[], budget: Budget): Text {
  const parts = items.map((item) => text(item));
  budget.made(parts.reduce((n, part) => n + part.length + self.length, 0));
  return concat(parts.flatMap((part, i) => (i === 0 ? [part] : [self, part])));
}

/** `{}`, `{0}`, `{name}` of Python's `format`; conversions and widths are not known. */
function formatted(self: Text, given: CallArguments): Text {
  const parts: Text[] = [];
  let next = 0;
  let at = 0;
  for (const match of self.value.matchAll(/\{\{|\}\}|\{(\w*)\}|[{}]/g)) {
    parts.push(slice(self, at, match.index));
    at = match.index + match[0].length;
    const [whole, name] = match;
    if (name === undefined && whole.length === 2) parts.push(slice(self, match.index, match.index + 1));
    else if (name === undefined) throw new TemplateError("format: only {}, {0} and {name} are known");
    else {
      const value =
        name === ""
          ? given.positional[next++]
          : /^\d+$/.test(name)
            ? given.positional[Number(name)]
            : given.named.get(name);
      if (value === undefined) throw new TemplateError(`format: no argument for {${name}}`);
      parts.push(str(value));
    }
  }
  return concat([...parts, slice(self, at)]);
}

const stripper = (name: "strip" | "lstrip" | "rstrip"): Method<Text> =>
  method("chars", (self, { chars }) => strip(self, name, optionalText(chars)?.value ?? null));

const TEXT_METHODS: Readonly<Record<string, Method<Text>>> = {
  upper: method("", (self) => upper(self)),
  lower: method("", (self) => lower(self)),
  casefold: method("", (self) => lower(self)),
  title: method("", (self) => title(self)),
  capitalize: method("", (self) => capitalize(self)),
  swapcase: method("", (self) =>
    mapRuns(self, (part) =>
      Array.from(part, (c) => (c === c.toUpperCase() ? c.toLowerCase() : c.toUpperCase())).join(""),
    ),
  ),
  strip: stripper("strip"),
  lstrip: stripper("lstrip"),
  rstrip: stripper("rstrip"),
  split: method("sep maxsplit", (self, args, budget) => splitBy(self, args, budget, false)),
  rsplit: method("sep maxsplit", (self, args, budget) => splitBy(self, args, budget, true)),
  splitlines: method("keepends", (self, { keepends }) => list(lines(self, flag(keepends)))),
  partition: method("sep", (self, { sep }) => parted(self, text(sep), false)),
  rpartition: method("sep", (self, { sep }) => parted(self, text(sep), true)),
  replace: method("old new count", (self, args, budget) => replaced(self, args, budget)),
  startswith: method("prefix start end", (self, args) => {
    const inside = self.value.slice(...rangeOf(self, args));
    return affixes(args.prefix).some((affix) => inside.startsWith(affix));
  }),
  endswith: method("suffix start end", (self, args) => {
    const inside = self.value.slice(...rangeOf(self, args));
    return affixes(args.suffix).some((affix) => inside.endsWith(affix));
  }),
  removeprefix: method("prefix", (self, { prefix }) =>
    self.value.startsWith(text(prefix).value) ? slice(self, text(prefix).length) : self,
  ),
  removesuffix: method("suffix", (self, { suffix }) =>
    text(suffix).length > 0 && self.value.endsWith(text(suffix).value)
      ? slice(self, 0, self.length - text(suffix).length)
      : self,
  ),
  find: method("sub start end", (self, args) => BigInt(found(self, args, false))),
  rfind: method("sub start end", (self, args) => BigInt(found(self, args, true))),
  index: method("sub start end", (self, args) => index(self, args, false)),
  rindex: method("sub start end", (self, args) => index(self, args, true)),
  count: method("sub start end", (self, args) => {
    const inside = self.value.slice(...rangeOf(self, args));
    const sub = text(args.sub).value;
    return BigInt(sub === "" ? characterCount(inside) + 1 : inside.split(sub).length - 1);
  }),
  join: method("iterable", (self, { iterable }, budget) =>
    joined(self, itemsOf(iterable ?? null, characters), budget),
  ),
  format: { parameters: [], run: (self, _, __, given) => formatted(self, given) },
  zfill: method("width", (self, { width }, budget) => {
    const sign = /^[-+]/.exec(self.value)?.[0] ?? "";
    const digits = padded(slice(self, sign.length), integer(width) - sign.length, "0", "left", budget);
    return concat([slice(self, 0, sign.length), digits]);
  }),
  ljust: method("width fillchar", (self, { width, fillchar }, budget) =>
    padded(self, integer(width), optionalText(fillchar)?.value ?? " ", "right", budget),
  ),
  rjust: method("width fillchar", (self, { width, fillchar }, budget) =>
    padded(self, integer(width), optionalText(fillchar)?.value ?? " ", "left", budget),
  ),
  center: method("width fillchar", (self, { width, fillchar }, budget) =>
    padded(self, integer(width), optionalText(fillchar)?.value ?? " ", "both", budget),
  ),
  expandtabs: method("tabsize", (self, { tabsize }) =>
    replace(self, "\t", textOf(" ".repeat(Math.max(0, Math.min(64, integer(tabsize, 8)))), sourceOf(self))),
  ),
  isdigit: method("", every(/\p{Nd}/u)),
  isdecimal: method("", every(/\p{Nd}/u)),
  isnumeric: method("", every(/\p{N}/u)),
  isalpha: method("", every(/\p{L}/u)),
  isalnum: method("", every(/[\p{L}\p{N}]/u)),
  isspace: method("", (self) => self.length > 0 && strip(self).length === 0),
  isascii: method("", (self) => Array.from(self.value).every((char) => char < "\x80")),
  isidentifier: method("", (self) => /^[\p{L}_][\p{L}\p{N}_]*$/u.test(self.value)),
  isupper: method("", (self) => hasCase(self, true)),
  islower: method("", (self) => hasCase(self, false)),
  istitle: method(
    "",
    (self) => self.length > 0 && title(self).value === self.value && /\p{L}/u.test(self.value),
  ),
};

/** `old` replaced by `new`; also the filter of that name. */
export function replaced(self: Text, { old, new: by, count }: Bound, budget: Budget): Text {
  const limit = count === null ? -1 : integer(count, -1);
  const [search, replacement] = [text(old), text(by)];
  const places = search.length === 0 ? self.length + 1 : self.value.split(search.value).length - 1;
  budget.made(self.length + (limit < 0 ? places : Math.min(places, limit)) * replacement.length);
  return replace(self, search.value, replacement, limit);
}

const DICT_METHODS: Readonly<Record<string, Method<Dict>>> = {
  get: method("key default", (self, { key, default: fallback }) =>
    orElse(self.get(key ?? null), fallback ?? null),
  ),
  items: method("", (self) => list([...self.entries.values()].map(([key, value]) => tuple(key, value)))),
  keys: method("", (self) => list([...self.entries.values()].map(([key]) => key))),
  values: method("", (self) => list([...self.entries.values()].map(([, value]) => value))),
  copy: method("", (self) => new Dict(self.entries.values(), self.path)),
};

const LIST_METHODS: Readonly<Record<string, Method<List>>> = {
  index: method("value", (self, { value = null }) => {
    const at = self.items.findIndex((item) => equals(item, value));
    if (at < 0) throw new TemplateError("the value is not in the list");
    return BigInt(at);
  }),
  count: method("value", (self, { value = null }) =>
    BigInt(self.items.filter((item) => equals(item, value)).length),
  ),
  copy: method("", (self) => self),
};

/** Methods that change what they are called on: the sandbox of transformers refuses them. */
const CHANGING: readonly string[] = [
  ...["append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"],
  ...["popitem", "setdefault", "update"],
];

/** A method of a value by name, ready to be called; undefined where there is none.
 *  @throws TemplateError for one that would change a list or dictionary */
export function methodOf(
  value: Value,
  name: string,
  budget: Budget,
): ((args: CallArguments) => Value) | undefined {
  if ((value instanceof List || value instanceof Dict) && CHANGING.includes(name))
    throw new TemplateError(
      `access to attribute '${name}' of '${value instanceof Dict ? "dict" : "list"}' object is unsafe.`,
    );
  if (value instanceof Text) return bound(value, TEXT_METHODS, name, budget);
  if (value instanceof Dict) return bound(value, DICT_METHODS, name, budget);
  return value instanceof List ? bound(value, LIST_METHODS, name, budget) : undefined;
}

function bound<Self>(
  self: Self,
  methods: Readonly<Record<string, Method<Self>>>,
  name: string,
  budget: Budget,
): ((args: CallArguments) => Value) | undefined {
  if (!Object.hasOwn(methods, name)) return undefined;
  const { parameters, run } = methods[name] as Method<Self>;
  return (args) => {
    budget.step(1 + (self instanceof Text ? self.length / 64 : 0));
    return run(self, name === "format" ? {} : bind(name, args, parameters), budget, args);
  };
}

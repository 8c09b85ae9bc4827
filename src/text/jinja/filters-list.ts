import { bind, flag, integer, optionalText, text } from "./arguments.ts";
import type { Context } from "./context.ts";
import { TemplateError } from "./errors.ts";
import { arithmetic } from "./operators.ts";
import { characters, concat, Text, textOf } from "./text.ts";
import {
  type CallArguments,
  compare,
  Dict,
  equals,
  isNumber,
  itemsOf,
  keyOf,
  List,
  orElse,
  truthy,
  Undefined,
  type Value,
} from "./values.ts";

type Bound = Readonly<Record<string, Value | undefined>>;
type ListFilter = (value: Value, args: CallArguments, context: Context) => Value;

const list = (items: readonly Value[]): List => new List(items);
/** Items of a value; none of one that is not true, such as None: so jinja2's `select` and `map` have it. */
const held = (value: Value): readonly Value[] => (truthy(value) ? all(value) : []);
const all = (value: Value): readonly Value[] => itemsOf(value, characters);

function filter(
  parameters: string,
  run: (items: readonly Value[], args: Bound, context: Context) => Value,
): ListFilter {
  const names = parameters === "" ? [] : parameters.split(" ");
  return (value, args, context) => {
    const items = all(value);
    context.budget.step(items.length);
    return run(items, bind("filter", args, names), context);
  };
}

/** The attribute that an argument names: `a.b.0`. */
function getter(name: Value | undefined, context: Context): (item: Value) => Value {
  if (name === undefined || name === null) return (item) => item;
  if (isNumber(name)) return (item) => context.item(item, name);
  const parts = text(name).value.split(".");
  return (item) =>
    parts.reduce((value, part) => {
      if (/^\d+$/.test(part)) return context.item(value, BigInt(part));
      const found = context.item(value, textOf(part));
      return found instanceof Undefined ? context.attribute(value, part) : found;
    }, item);
}

/** Texts compare without regard to case, unless it is asked for. */
function caseKey(value: Value, isCaseSensitive: boolean): Value {
  return value instanceof Text && !isCaseSensitive ? textOf(value.value.toLowerCase()) : value;
}

function sorted(items: readonly Value[], args: Bound, context: Context): Value {
  const names =
    args.attribute === undefined || args.attribute === null ? [undefined] : attributeList(args.attribute);
  const getters = names.map((name) => getter(name, context));
  const keyed = items.map((item) => ({
    item,
    keys: getters.map((get) => caseKey(get(item), flag(args.case_sensitive))),
  }));
  context.budget.step(items.length * 4);
  const sign = flag(args.reverse) ? -1 : 1;
  keyed.sort((a, b) => {
    for (const [i, key] of a.keys.entries()) {
      const order = compare(key, b.keys[i] as Value);
      if (order !== 0) return sign * order;
    }
    return 0;
  });
  return list(keyed.map(({ item }) => item));
}

function attributeList(name: Value): Value[] {
  return name instanceof Text ? name.value.split(",").map((part) => textOf(part.trim())) : [name];
}

function extreme(sign: 1 | -1): ListFilter {
  return filter("case_sensitive attribute", (items, args, context) => {
    const get = getter(args.attribute, context);
    const key = (item: Value): Value => caseKey(get(item), flag(args.case_sensitive));
    if (items.length === 0) return new Undefined("No aggregated item, sequence was empty.");
    return items.reduce((best, item) => (sign * compare(key(item), key(best)) < 0 ? item : best));
  });
}

/** `select`, `reject` (by a test of the items), `selectattr`, `rejectattr` (of an attribute). */
function selecting(byAttribute: boolean, keeps: boolean): ListFilter {
  return (value, { positional, named }, context) => {
    const get = byAttribute ? getter(positional[0] ?? null, context) : (item: Value): Value => item;
    const [name, ...rest] = byAttribute ? positional.slice(1) : positional;
    const passes = (item: Value): boolean =>
      name === undefined
        ? truthy(get(item))
        : context.test(text(name).value, get(item), { positional: rest, named });
    const items = held(value);
    context.budget.step(items.length);
    return list(items.filter((item) => passes(item) === keeps));
  };
}

const mapped: ListFilter = (value, { positional, named }, context) => {
  const items = held(value);
  context.budget.step(items.length);
  const attribute = named.get("attribute");
  if (attribute !== undefined) {
    const get = getter(attribute, context);
    const other = named.get("default");
    return list(
      items.map((item) => {
        const found = get(item);
        return found instanceof Undefined && other !== undefined ? other : found;
      }),
    );
  }
  const [name, ...rest] = positional;
  return list(items.map((item) => context.filter(text(name).value, item, { positional: rest, named })));
};

function grouped(items: readonly Value[], args: Bound, context: Context): Value {
  const get = getter(args.attribute, context);
  const keyOfItem = (item: Value): Value => {
    const key = get(item);
    return key instanceof Undefined ? orElse(args.default, key) : key;
  };
  const ordered = (sorted(items, args, context) as List).items;
  const groups: { key: Value; items: Value[] }[] = [];
  for (const item of ordered) {
    const key = keyOfItem(item);
    const last = groups.at(-1);
    if (last && equals(caseKey(last.key, flag(args.case_sensitive)), caseKey(key, flag(args.case_sensitive))))
      last.items.push(item);
    else groups.push({ key, items: [item] });
  }
  return list(groups.map((group) => new List([group.key, list(group.items)], true)));
}

function unique(items: readonly Value[], args: Bound, context: Context): Value {
  const get = getter(args.attribute, context);
  const seen = new Set<string>();
  return list(
    items.filter((item) => {
      const key = keyOf(caseKey(get(item), flag(args.case_sensitive)));
      if (seen.has(key)) return false;
      seen.add(key);
      return true;
    }),
  );
}

function batched(items: readonly Value[], args: Bound): Value {
  const size = Math.max(1, integer(args.linecount));
  const groups: Value[][] = [];
  for (let i = 0; i < items.length; i += size) groups.push(items.slice(i, i + size));
  const last = groups.at(-1);
  if (last && args.fill_with !== undefined)
    while (last.length < Math.min(size, 10_000)) last.push(args.fill_with);
  return list(groups.map(list));
}

function columns(items: readonly Value[], args: Bound): Value {
  const count = Math.min(10_000, Math.max(1, integer(args.slices)));
  const [size, larger] = [Math.floor(items.length / count), items.length % count];
  let at = 0;
  return list(
    Array.from({ length: count }, (_, i) => {
      const group = items.slice(at, at + size + (i < larger ? 1 : 0));
      at += group.length;
      const isShort = args.fill_with !== undefined && larger > 0 && i >= larger;
      return list(isShort ? [...group, args.fill_with as Value] : group);
    }),
  );
}

const end = (name: "first" | "last"): ListFilter =>
  filter("", (items) => {
    const found = name === "first" ? items[0] : items.at(-1);
    return orElse(found, new Undefined(`No ${name} item, sequence was empty.`));
  });

const reversed: ListFilter = (value, args, context) => {
  if (value instanceof Text) return concat(characters(value).reverse());
  return filter("", (items) => list([...items].reverse()))(value, args, context);
};

function dictSorted(value: Value, args: CallArguments): Value {
  if (!(value instanceof Dict)) throw new TemplateError("dictsort: expected a dict");
  const bound = bind("dictsort", args, ["case_sensitive", "by", "reverse"]);
  const place = optionalText(bound.by ?? null)?.value === "value" ? 1 : 0;
  const sign = flag(bound.reverse) ? -1 : 1;
  const key = (entry: readonly [Value, Value]): Value => caseKey(entry[place], flag(bound.case_sensitive));
  const entries = [...value.entries.values()].sort((a, b) => sign * compare(key(a), key(b)));
  return list(entries.map((entry) => new List(entry, true)));
}

/** Filters of lists. */
export const LIST_FILTERS: Readonly<Record<string, ListFilter>> = {
  batch: filter("linecount fill_with", batched),
  dictsort: (value, args, context) => {
    context.readWhole(value);
    return dictSorted(value, args);
  },
  first: end("first"),
  groupby: filter("attribute default case_sensitive", grouped),
  items: (value, _, context) => {
    context.readWhole(value);
    if (value instanceof Undefined) return list([]);
    if (!(value instanceof Dict)) throw new TemplateError("Can only get item pairs from a mapping.");
    return list([...value.entries.values()].map((entry) => new List(entry, true)));
  },
  last: end("last"),
  list: filter("", (items) => list(items)),
  map: mapped,
  max: extreme(-1),
  min: extreme(1),
  reject: selecting(false, false),
  rejectattr: selecting(true, false),
  reverse: reversed,
  select: selecting(false, true),
  selectattr: selecting(true, true),
  slice: filter("slices fill_with", columns),
  sort: filter("reverse case_sensitive attribute", sorted),
  sum: filter("attribute start", (items, { attribute, start = 0n }, context) =>
    items
      .map(getter(attribute, context))
      .reduce((sum, item) => arithmetic("+", sum, item, context.budget), start),
  ),
  unique: filter("case_sensitive attribute", unique),
};

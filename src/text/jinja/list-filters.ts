import { attribute as attributeOf, getAttribute, getItem } from "./attributes.ts";
import { itemPairs } from "./dict-methods.ts";
import type { Filter } from "./filter.ts";
import { fail, produce, tick } from "./limits.ts";
import { toText } from "./print.ts";
import { bind, given, intArg, type Runtime, textArg } from "./state.ts";
import { runTest } from "./tests.ts";
import { join, textOf } from "./text.ts";
import { lowerText } from "./text-methods.ts";
import {
  type Args,
  compare,
  equals,
  hashOf,
  int,
  isTrue,
  itemsOf,
  iterate,
  list,
  listFrom,
  originOf,
  type Sequence,
  stream,
  tuple,
  typeName,
  undef,
  type Value,
} from "./values.ts";

type Getter = (item: Value) => Value;

/** jinja2's `make_attrgetter`: attributes of attributes with dots between them, whole numbers as indexes. */
export function attributeGetter(rt: Runtime, attribute: Value | undefined, absent?: Value): Getter {
  if (!given(attribute)) return (item) => item;
  const parts =
    attribute.kind === "text"
      ? attribute.text.split(".").map((p) => (/^\p{Nd}+$/u.test(p) ? int(BigInt(p)) : textOf(p)))
      : [attribute];
  return (item) =>
    parts.reduce<Value>((value, part) => {
      const found = getItem(rt, value, part);
      return found.kind === "undefined" && given(absent) ? absent : found;
    }, item);
}

const ignoreCase = (rt: Runtime, value: Value): Value =>
  value.kind === "text" ? lowerText(rt, value) : value;
const flag = (value: Value | undefined): boolean => value !== undefined && isTrue(value);

function keyGetter(
  rt: Runtime,
  attribute: Value | undefined,
  caseSensitive: Value | undefined,
  absent?: Value,
): Getter {
  const get = attributeGetter(rt, attribute, absent);
  return flag(caseSensitive) ? get : (item) => ignoreCase(rt, get(item));
}

/** Items in order of their keys, equal ones as they were. */
function sorted(rt: Runtime, items: readonly Value[], key: Getter, reverse: boolean): Value[] {
  const keyed = items.map((item) => ({ item, key: key(item) }));
  tick(rt.limits, items.length);
  const sign = reverse ? -1 : 1;
  return keyed.sort((a, b) => sign * (compare(rt.limits, a.key, b.key) || 0)).map((k) => k.item);
}

const sort: Filter = (rt, value, args) => {
  const [reverse, caseSensitive, attribute] = bind("sort", args, ["reverse", "case_sensitive", "attribute"]);
  const parts = attribute?.kind === "text" ? attribute.text.split(",").map((p) => textOf(p)) : [attribute];
  const getters = parts.map((p) => keyGetter(rt, p, caseSensitive));
  const items = sorted(
    rt,
    itemsOf(rt.limits, value),
    (item) => list(getters.map((get) => get(item))),
    flag(reverse),
  );
  return list(items, originOf(value));
};

const dictsort: Filter = (rt, value, args) => {
  const [caseSensitive, by, reverse] = bind("dictsort", args, ["case_sensitive", "by", "reverse"]);
  if (value.kind !== "dict")
    return fail(
      value.kind === "undefined" ? value.message : `'${typeName(value)}' object has no attribute 'items'`,
    );
  const part = by === undefined ? "key" : textArg(by).text;
  if (part !== "key" && part !== "value") fail('You can only sort by either "key" or "value"');
  const key = keyGetter(rt, int(part === "key" ? 0 : 1), caseSensitive);
  return list(sorted(rt, itemPairs(value), key, flag(reverse)), value.origin);
};

const unique: Filter = (rt, value, args) => {
  const [caseSensitive, attribute] = bind("unique", args, ["case_sensitive", "attribute"]);
  const key = keyGetter(rt, attribute, caseSensitive);
  const seen = new Set<string>();
  return lazily(rt, value, (item) => {
    const hash = hashOf(key(item));
    if (seen.has(hash)) return null;
    seen.add(hash);
    return item;
  });
};

/** A generator of what `change` makes of each item; null: nothing. */
function lazily(rt: Runtime, value: Value, change: (item: Value) => Value | null): Value {
  function* run(): Generator<Value> {
    const iterator = iterate(value);
    for (let next = iterator.next(); !next.done; next = iterator.next()) {
      tick(rt.limits, 1);
      const result = change(next.value);
      if (result !== null) yield result;
    }
  }
  return stream(run());
}

function extreme(sign: 1 | -1): Filter {
  return (rt, value, args) => {
    const [caseSensitive, attribute] = bind("min or max", args, ["case_sensitive", "attribute"]);
    const key = keyGetter(rt, attribute, caseSensitive);
    const items = itemsOf(rt.limits, value);
    if (items.length === 0) return undef("No aggregated item, sequence was empty.");
    return items.reduce((best, item) => (sign * compare(rt.limits, key(item), key(best)) < 0 ? item : best));
  };
}

const groupby: Filter = (rt, value, args) => {
  const [attribute, absent, caseSensitive] = bind(
    "groupby",
    args,
    ["attribute", "default", "case_sensitive"],
    1,
  );
  const key = keyGetter(rt, attribute, caseSensitive, absent);
  const plainKey = attributeGetter(rt, attribute, absent);
  const groups: Value[][] = [];
  for (const item of sorted(rt, itemsOf(rt.limits, value), key, false)) {
    const last = groups.at(-1);
    if (last?.[0] !== undefined && equals(rt.limits, key(last[0]), key(item))) last.push(item);
    else groups.push([item]);
  }
  const group = (items: Value[]): Sequence => ({
    ...tuple([plainKey(items[0] as Value), list(items)]),
    names: ["grouper", "list"],
  });
  return list(groups.map(group), originOf(value));
};

const map: Filter = (rt, value, args) => {
  if (!isTrue(value)) return stream([][Symbol.iterator]());
  const attribute = args.named.get("attribute");
  if (args.values.length === 0 && attribute !== undefined) {
    const [, absent] = bind("map", args, ["attribute", "default"]);
    return lazily(rt, value, attributeGetter(rt, attribute, absent));
  }
  const [name, ...values] = args.values;
  if (name === undefined) return fail("map requires a filter argument");
  return lazily(rt, value, (item) => rt.filter(textArg(name).text, item, { values, named: args.named }));
};

function selection(keeps: boolean, byAttribute: boolean): Filter {
  return (rt, value, args) => {
    if (!isTrue(value)) return stream([][Symbol.iterator]());
    const attribute = byAttribute ? args.values[0] : undefined;
    const others = byAttribute ? args.values.slice(1) : args.values;
    if (byAttribute && attribute === undefined) fail("Missing parameter for attribute name");
    const get = attributeGetter(rt, attribute);
    const passes = tester(rt, others, args);
    return lazily(rt, value, (item) => (passes(get(item)) === keeps ? item : null));
  };
}

function tester(rt: Runtime, [name, ...values]: readonly Value[], { named }: Args): (item: Value) => boolean {
  if (name === undefined) return isTrue;
  return (item) => runTest(rt, textArg(name).text, item, { values, named });
}

const joinFilter: Filter = (rt, value, args) => {
  const [separator, attribute] = bind("join", args, ["d", "attribute"]);
  const between = separator === undefined ? textOf("") : toText(rt.limits, separator);
  const get = attributeGetter(rt, attribute);
  const texts = itemsOf(rt.limits, value).map((item) => toText(rt.limits, get(item)));
  produce(
    rt.limits,
    texts.reduce((sum, t) => sum + t.text.length + between.text.length, 0),
  );
  return { ...join(texts, between), markup: false };
};

const slices: Filter = (rt, value, args) => {
  const [count, fill] = bind("slice", args, ["slices", "fill_with"], 1);
  const items = itemsOf(rt.limits, value);
  const parts = intArg(count, 1);
  if (parts === 0) fail("integer division or modulo by zero");
  tick(rt.limits, Math.max(0, parts));
  const [size, extra] = [Math.floor(items.length / parts), items.length % parts];
  const result: Value[] = [];
  for (let i = 0, start = 0; i < parts; i++) {
    const end = start + size + (i < extra ? 1 : 0);
    result.push(list([...items.slice(start, end), ...(given(fill) && i >= extra ? [fill] : [])]));
    start = end;
  }
  return stream(result[Symbol.iterator]());
};

const batch: Filter = (rt, value, args) => {
  const [count, fill] = bind("batch", args, ["linecount", "fill_with"], 1);
  const items = itemsOf(rt.limits, value);
  const size = Math.max(1, intArg(count, 1));
  const result: Value[] = [];
  for (let i = 0; i < items.length; i += size) {
    const part = items.slice(i, i + size);
    if (given(fill)) tick(rt.limits, size - part.length);
    result.push(list(given(fill) ? [...part, ...new Array<Value>(size - part.length).fill(fill)] : part));
  }
  return stream(result[Symbol.iterator]());
};

const first: Filter = (_rt, value) => {
  const next = iterate(value).next();
  return next.done ? undef("No first item, sequence was empty.") : next.value;
};

const last: Filter = (rt, value) => {
  if (value.kind === "stream" && value.view === null) fail(`'${value.name}' object is not reversible`);
  return itemsOf(rt.limits, value).at(-1) ?? undef("No last item, sequence was empty.");
};

const items: Filter = (_rt, value) => {
  if (value.kind === "undefined") return stream([][Symbol.iterator]());
  if (value.kind !== "dict") return fail("Can only get item pairs from a mapping.");
  return stream(itemPairs(value)[Symbol.iterator]());
};

const absent: Filter = (_rt, value, args) => {
  const [instead = textOf(""), boolean] = bind("default", args, ["default_value", "boolean"]);
  return value.kind === "undefined" || (flag(boolean) && !isTrue(value)) ? instead : value;
};

const attr: Filter = (rt, value, args) => {
  const name = textArg(bind("attr", args, ["name"], 1)[0]).text;
  if (value.kind === "undefined") return fail(value.message);
  const found = attributeOf(rt, value, name);
  return found === undefined
    ? undef(`'${typeName(value)} object' has no attribute '${name}'`)
    : getAttribute(rt, value, name);
};

export const LIST_FILTERS: Readonly<Record<string, Filter>> = {
  attr,
  batch,
  d: absent,
  default: absent,
  dictsort,
  first,
  groupby,
  items,
  join: joinFilter,
  last,
  list: (rt, value) => listFrom(rt.limits, value),
  map,
  max: extreme(-1),
  min: extreme(1),
  reject: selection(false, false),
  rejectattr: selection(false, true),
  select: selection(true, false),
  selectattr: selection(true, true),
  slice: slices,
  sort,
  unique,
};

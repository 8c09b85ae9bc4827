import { fail } from "./limits.ts";
import { bind, type Runtime } from "./state.ts";
import {
  type Args,
  type Dict,
  dict,
  func,
  hashOf,
  itemsOf,
  NONE,
  readEntry,
  type Stream,
  tuple,
  undef,
  type Value,
} from "./values.ts";

const CHANGING = new Set(["clear", "pop", "popitem", "setdefault", "update"]);

/** A method of dict; those that change it are undefined, as in the sandbox. */
export function dictMethod(rt: Runtime, self: Dict, name: string): Value | undefined {
  if (CHANGING.has(name)) return undef(`access to attribute '${name}' of 'dict' object is unsafe.`);
  const method = METHODS[name];
  return method === undefined || !Object.hasOwn(METHODS, name)
    ? undefined
    : func(`dict.${name}`, (args) => method(self, args, rt));
}

type Method = (self: Dict, args: Args, rt: Runtime) => Value;

const METHODS: Readonly<Record<string, Method>> = {
  get(self, args) {
    if (args.named.size > 0) fail("dict.get() takes no keyword arguments");
    const [key, absent] = bind("get", args, ["key", "default"], 1);
    const entry = self.entries.get(hashOf(key as Value));
    return entry === undefined ? (absent ?? NONE) : readEntry(self, entry);
  },
  keys: (self, args) => view("dict_keys", self, args, (d) => [...d.entries.values()].map((e) => e.key)),
  values: (self, args) =>
    view("dict_values", self, args, (d) => [...d.entries.values()].map((e) => readEntry(d, e))),
  items: (self, args) => view("dict_items", self, args, itemPairs),
  copy: (self, args) => {
    bind("copy", args, []);
    return self;
  },
  fromkeys(_, args, rt) {
    const [keys, value = NONE] = bind("fromkeys", args, ["iterable", "value"], 1);
    return dict(itemsOf(rt.limits, keys as Value).map((key) => [key, value]));
  },
};

/** The (key, value) tuples of a dict. */
export const itemPairs = (self: Dict): Value[] =>
  [...self.entries.values()].map((e) => tuple([e.key, readEntry(self, e)], self.origin));

function view(name: string, self: Dict, args: Args, items: (self: Dict) => Value[]): Stream {
  bind(name, args, []);
  return {
    kind: "stream",
    name,
    iterator: null,
    view: { kind: "list", items: items(self), origin: self.origin },
  };
}

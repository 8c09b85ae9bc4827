import { isSpace } from "../python-text.ts";
import { escaped } from "./escape.ts";
import { formatMap, formatText } from "./format.ts";
import { checkLength, fail, produce, tickText } from "./limits.ts";
import { unitsOf } from "./percent.ts";
import { bind, given, intArg, type Runtime, textArg } from "./state.ts";
import { concat, join, lengthOf, mapText, slice, type Text, textOf } from "./text.ts";
import { replace, rsplit, type Side, split, splitLines, strip } from "./text-cut.ts";
import { type Args, bool, func, int, isTrue, itemsOf, list, tuple, typeName, type Value } from "./values.ts";

type Method = (self: Text, args: Args, rt: Runtime) => Value;

/** A method of str; undefined where there is none of that name. */
export function textMethod(rt: Runtime, self: Text, name: string): Value | undefined {
  if (UNSUPPORTED.has(name))
    return func(name, () => fail(`the method '${name}' of strings is not supported`));
  const method = METHODS[name];
  if (method === undefined || !Object.hasOwn(METHODS, name)) return undefined;
  return func(`str.${name}`, (args) => {
    tickText(rt.limits, self.text.length);
    return method(self, self.markup && !TAKES_PLAIN.has(name) ? escapedArgs(rt, args) : args, rt);
  });
}

const UNSUPPORTED = new Set(["encode", "translate", "maketrans", "isprintable"]);

/** Methods of Markup that take their arguments as they are; all others escape them. */
const TAKES_PLAIN = new Set(
  "split rsplit splitlines format format_map startswith endswith find rfind index rindex count".split(" "),
);

function escapedArgs(rt: Runtime, { values, named }: Args): Args {
  const safe = (value: Value): Value => (value.kind === "text" ? escaped(rt, value) : value);
  return {
    values: values.map(safe),
    named: new Map([...named].map(([name, value]) => [name, safe(value)])),
  };
}

const upper = (part: string): string => part.toUpperCase();
const lower = (part: string): string => part.toLowerCase();
const TITLE_PAIRS = /^[Ǆ-ǌǱ-ǳ]$/u;

/** A character as the first of a title: letters that are two in one have a form for it. */
function titleCharacter(char: string): string {
  if (TITLE_PAIRS.test(char)) {
    const code = char.charCodeAt(0);
    return code >= 0x1f1 ? "ǲ" : (["ǅ", "ǈ", "ǋ"][Math.floor((code - 0x1c4) / 3)] as string);
  }
  const upper = Array.from(char.toUpperCase());
  const first = upper.findIndex(isCased);
  return upper.map((c, i) => (i > first ? c.toLowerCase() : c)).join("");
}

const isCased = (char: string): boolean => char.toLowerCase() !== char || char.toUpperCase() !== char;

export function changeCase(rt: Runtime, text: Text, change: (part: string) => string): Text {
  const result = mapText(text, change);
  produce(rt.limits, result.text.length);
  return result;
}
export const upperText = (rt: Runtime, text: Text): Text => changeCase(rt, text, upper);
export const lowerText = (rt: Runtime, text: Text): Text => changeCase(rt, text, lower);

export function capitalize(rt: Runtime, text: Text): Text {
  const first = unitsOf(text.text, 1);
  const lowered = changeCase(rt, text, lower);
  const rest = slice(lowered, lower(text.text.slice(0, first)).length);
  return concat([mapText(slice(text, 0, first), titleCharacter), rest], text.markup);
}

/** Python's `str.title`: the first letter after anything that is no letter. */
function title(rt: Runtime, text: Text): Text {
  return changeCase(rt, text, (part) => {
    let result = "";
    let word = "";
    for (const char of part) {
      if (isCased(char)) word += char;
      else {
        result += titleWord(word) + char;
        word = "";
      }
    }
    return result + titleWord(word);
  });
}

/** A word as in a title; lower case is that of the whole word, which knows a final sigma. */
function titleWord(word: string): string {
  const [first = ""] = word;
  return titleCharacter(first) + word.toLowerCase().slice(first.toLowerCase().length);
}

const swapped = (char: string): string => (upper(char) === char ? lower(char) : upper(char));

/** A method without arguments. */
function plain(name: string, change: (rt: Runtime, self: Text) => Value): Method {
  return (self, args, rt) => {
    bind(name, args, []);
    return change(rt, self);
  };
}

/** Whether a text has characters, all of which pass. */
const all =
  (pattern: RegExp) =>
  (self: Text): Value =>
    bool(pattern.test(self.text));

function isCase(self: Text, change: (text: string) => string): Value {
  return bool(change(self.text) === self.text && Array.from(self.text).some(isCased));
}

function stripMethod(side: Side): Method {
  return (self, args) => {
    const [chars] = bind(side, args, ["chars"]);
    return strip(self, side, given(chars) ? textArg(chars).text : null);
  };
}

function splitMethod(cut: typeof split): Method {
  return (self, args, rt) => {
    const [separator, limit] = bind("split", args, ["sep", "maxsplit"]);
    return list(
      cut(rt, self, given(separator) ? textArg(separator).text : null, intArg(limit, -1)),
      self.origin,
    );
  };
}

/** The part of a text that start and end, in characters, leave; null where start lies behind its end. */
function part(
  self: Text,
  start: Value | undefined,
  end: Value | undefined,
): { readonly text: Text; readonly from: number } | null {
  const length = lengthOf(self.text);
  const clamp = (at: number): number => Math.max(0, at < 0 ? at + length : at);
  const from = clamp(given(start) ? intArg(start, 0) : 0);
  const to = Math.min(length, clamp(given(end) ? intArg(end, length) : length));
  if (from > length || from > to) return null;
  return {
    text: slice(self, unitsOf(self.text, from), Math.max(unitsOf(self.text, from), unitsOf(self.text, to))),
    from,
  };
}

function affixMethod(name: "startswith" | "endswith"): Method {
  const test = name === "startswith" ? "startsWith" : "endsWith";
  return (self, args) => {
    const [affix, start, end] = bind(name, args, ["prefix", "start", "end"], 1);
    const within = part(self, start, end);
    if (affix?.kind !== "text" && affix?.kind !== "tuple")
      return affix?.kind === "undefined"
        ? fail(affix.message)
        : fail(`${name} first arg must be str or a tuple of str, not ${typeName(affix as Value)}`);
    const affixes = affix.kind === "text" ? [affix] : affix.items.map(textArg);
    return bool(within !== null && affixes.some((a) => within.text.text[test](a.text)));
  };
}

function findMethod(name: string, search: "indexOf" | "lastIndexOf", mustBeThere: boolean): Method {
  return (self, args) => {
    const [sub, start, end] = bind(name, args, ["sub", "start", "end"], 1);
    const sought = textArg(sub).text;
    const within = part(self, start, end);
    const at = within === null ? -1 : within.text.text[search](sought);
    if (at < 0 && mustBeThere) fail("substring not found");
    return int(at < 0 || within === null ? -1 : within.from + lengthOf(within.text.text.slice(0, at)));
  };
}

function partitionMethod(name: "partition" | "rpartition"): Method {
  return (self, args) => {
    const [sep] = bind(name, args, ["sep"], 1);
    const separator = textArg(sep);
    if (separator.text === "") fail("empty separator");
    const at =
      name === "partition" ? self.text.indexOf(separator.text) : self.text.lastIndexOf(separator.text);
    const empty = slice(self, 0, 0);
    if (at < 0) return tuple(name === "partition" ? [self, empty, empty] : [empty, empty, self]);
    const end = at + separator.text.length;
    return tuple([slice(self, 0, at), slice(self, at, end), slice(self, end)]);
  };
}

const ALIGN = { ljust: "<", rjust: ">", center: "^" } as const;

/** Python's `ljust`, `rjust`, `center`. */
export function justify(
  rt: Runtime,
  self: Text,
  name: keyof typeof ALIGN,
  width: number,
  fill: Text = textOf(" "),
): Text {
  if (lengthOf(fill.text) !== 1) fail("The fill character must be exactly one character long");
  checkLength(rt.limits, width);
  const length = lengthOf(self.text);
  const room = Math.max(0, width - length);
  if (room === 0) return self;
  produce(rt.limits, width);
  // CPython puts the odd space of `center` on the left where the width is odd.
  const left = name === "ljust" ? 0 : name === "rjust" ? room : Math.floor(room / 2) + (room & width & 1);
  const filler = (count: number): Text => ({ ...fill, text: fill.text.repeat(count), runs: null });
  return concat([filler(left), self, filler(room - left)], self.markup);
}

function justifyMethod(name: keyof typeof ALIGN): Method {
  return (self, args, rt) => {
    const [width, fill] = bind(name, args, ["width", "fillchar"], 1);
    return justify(rt, self, name, intArg(width, 0), fill === undefined ? undefined : textArg(fill));
  };
}

function affixCut(name: string, cut: (self: Text, affix: string) => Text): Method {
  return (self, args) => cut(self, textArg(bind(name, args, ["affix"], 1)[0]).text);
}

const METHODS: Readonly<Record<string, Method>> = {
  strip: stripMethod("strip"),
  lstrip: stripMethod("lstrip"),
  rstrip: stripMethod("rstrip"),
  split: splitMethod(split),
  rsplit: splitMethod(rsplit),
  splitlines(self, args, rt) {
    const [keepEnds] = bind("splitlines", args, ["keepends"]);
    return list(splitLines(rt, self, keepEnds !== undefined && isTrue(keepEnds)), self.origin);
  },
  partition: partitionMethod("partition"),
  rpartition: partitionMethod("rpartition"),
  replace(self, args, rt) {
    const [old, by, count] = bind("replace", args, ["old", "new", "count"], 2);
    return replace(rt, self, textArg(old), textArg(by), intArg(count, -1));
  },
  join(self, args, rt) {
    const [items] = bind("join", args, ["iterable"], 1);
    const texts = itemsOf(rt.limits, items as Value)
      .map(textArg)
      .map((t) => (self.markup ? escaped(rt, t) : t));
    const length = texts.reduce((sum, t) => sum + t.text.length + self.text.length, 0);
    produce(rt.limits, length);
    return { ...join(texts, self), markup: self.markup };
  },
  format: (self, args, rt) => formatText(rt, self, args),
  format_map: (self, args, rt) => formatMap(rt, self, bind("format_map", args, ["mapping"], 1)[0] as Value),
  startswith: affixMethod("startswith"),
  endswith: affixMethod("endswith"),
  find: findMethod("find", "indexOf", false),
  rfind: findMethod("rfind", "lastIndexOf", false),
  index: findMethod("index", "indexOf", true),
  rindex: findMethod("rindex", "lastIndexOf", true),
  count(self, args, rt) {
    const [sub, start, end] = bind("count", args, ["sub", "start", "end"], 1);
    const within = part(self, start, end);
    const sought = textArg(sub).text;
    if (within === null) return int(0);
    if (sought === "") return int(lengthOf(within.text.text) + 1);
    return int(split(rt, within.text, sought, -1).length - 1);
  },
  upper: plain("upper", upperText),
  lower: plain("lower", lowerText),
  casefold: plain("casefold", (rt, self) => changeCase(rt, self, (t) => lower(t.replaceAll("ß", "ss")))),
  swapcase: plain("swapcase", (rt, self) => changeCase(rt, self, (t) => Array.from(t, swapped).join(""))),
  title: plain("title", title),
  capitalize: plain("capitalize", capitalize),
  removeprefix: affixCut("removeprefix", (self, affix) =>
    self.text.startsWith(affix) ? slice(self, affix.length) : self,
  ),
  removesuffix: affixCut("removesuffix", (self, affix) =>
    affix !== "" && self.text.endsWith(affix) ? slice(self, 0, self.text.length - affix.length) : self,
  ),
  ljust: justifyMethod("ljust"),
  rjust: justifyMethod("rjust"),
  center: justifyMethod("center"),
  zfill(self, args, rt) {
    const width = intArg(bind("zfill", args, ["width"], 1)[0], 0);
    const sign = /^[-+]/.test(self.text) ? 1 : 0;
    const digits = justify(rt, slice(self, sign), "rjust", width - sign, textOf("0"));
    return concat([slice(self, 0, sign), digits]);
  },
  expandtabs: (self, args, rt) => {
    const size = intArg(bind("expandtabs", args, ["tabsize"])[0], 8);
    let column = 0;
    return changeCase(rt, self, (text) => {
      let result = "";
      for (const char of text) {
        const room = char === "\t" ? (size > 0 ? size - (column % size) : 0) : 1;
        result += char === "\t" ? " ".repeat(room) : char;
        column = char === "\n" || char === "\r" ? 0 : column + room;
      }
      return result;
    });
  },
  isdigit: all(/^[\p{Nd}²³¹⁰⁴-⁹₀-₉①-⑨⑴-⑼⒈-⒐]+$/u),
  isdecimal: all(/^\p{Nd}+$/u),
  isnumeric: all(/^\p{N}+$/u),
  isalpha: all(/^\p{L}+$/u),
  isalnum: all(/^[\p{L}\p{N}]+$/u),
  isascii: (self) => bool(![...self.text].some((c) => c > "\x7f")),
  isidentifier: all(/^[\p{L}\p{Nl}_][\p{L}\p{N}\p{M}_]*$/u),
  isspace: (self) => bool(self.text !== "" && Array.from(self.text).every(isSpace)),
  isupper: (self) => isCase(self, upper),
  islower: (self) => isCase(self, lower),
  istitle: (self, _, rt) =>
    bool(Array.from(self.text).some(isCased) && title(rt, textOf(self.text)).text === self.text),
};

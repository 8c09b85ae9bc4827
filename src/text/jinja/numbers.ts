import { floatText } from "../python-text.ts";
import { fail } from "./limits.ts";
import { intText } from "./print.ts";

/** How a number or text is laid out: the common part of Python's `%` and `format` directives. */
export interface Layout {
  readonly fill: string;
  readonly align: "<" | ">" | "^" | "=" | "";
  readonly sign: "-" | "+" | " ";
  readonly isAlternate: boolean;
  readonly width: number;
  readonly grouping: "" | "," | "_";
  readonly precision: number | null;
}

const MAX_PRECISION = 100;

/** Digits of a float as type e, f, g or % writes them, without a sign. */
function floatDigits(value: number, type: string, { precision, isAlternate }: Layout): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "nan" : "inf";
  const places = precision ?? 6;
  if (places > MAX_PRECISION) fail("precision too big");
  switch (type) {
    case "f":
      return fixed(value, places);
    case "%":
      return `${fixed(value * 100, places)}%`;
    case "e":
      return exponent(value.toExponential(places));
    default:
      return general(value, places === 0 ? 1 : places, isAlternate);
  }
}

const exponent = (text: string): string => text.replace(/e([+-])(\d)$/, "e$10$2");

/** `toFixed` beyond 10²¹ too, and to even where the value lies exactly between. */
export function fixed(value: number, places: number): string {
  if (value >= 1e21) return places > 0 ? `${BigInt(value)}.${"0".repeat(places)}` : String(BigInt(value));
  const text = value.toFixed(places);
  const exact = value.toFixed(MAX_PRECISION);
  const cut = exact.indexOf(".") + 1 + places;
  if (!/^50*$/.test(exact.slice(cut))) return text;
  const down = exact.slice(0, places === 0 ? cut - 1 : cut);
  return Number(down.at(-1)) % 2 === 0 ? down : text;
}

function general(value: number, precision: number, keepZeros: boolean): string {
  if (value === 0) return keepZeros && precision > 1 ? `0.${"0".repeat(precision - 1)}` : "0";
  const [digits = "", power = "0"] = value.toExponential(precision - 1).split("e");
  const trim = (text: string): string =>
    keepZeros || !text.includes(".") ? text : text.replace(/\.?0+$/, "");
  const n = Number(power);
  if (n < -4 || n >= precision) return exponent(`${trim(digits)}e${power}`);
  return trim(value.toFixed(Math.max(0, precision - 1 - n)));
}

function grouped(digits: string, separator: string, size: number): string {
  const [, whole = "", rest = ""] = /^([\da-fA-F]*)(.*)$/.exec(digits) ?? [];
  return whole.replace(new RegExp(`\\B(?=([\\da-fA-F]{${size}})+(?![\\da-fA-F]))`, "g"), separator) + rest;
}

/** A number in a type of Python's mini language (empty: as `str` has it), sign, grouping and padding included. */
export function numberText(value: bigint | number, type: string, layout: Layout): string {
  const isNegative = value < 0 || Object.is(value, -0);
  const magnitude = value < 0 ? -value : Object.is(value, -0) ? 0 : value;
  const sign = isNegative ? "-" : layout.sign === "-" ? "" : layout.sign;
  let [prefix, digits] = digitsOf(magnitude, type, layout);
  if (layout.grouping !== "") digits = grouped(digits, layout.grouping, "bxXo".includes(type || "d") ? 4 : 3);
  prefix = sign + prefix;
  const align = layout.align === "" ? ">" : layout.align;
  if (align !== "=") return padded(prefix + digits, { ...layout, align });
  return prefix + padded(digits, { ...layout, align: ">", width: layout.width - prefix.length });
}

function digitsOf(value: bigint | number, type: string, layout: Layout): [prefix: string, digits: string] {
  const lower = type.toLowerCase();
  if (typeof value === "bigint" && "bodx".includes(lower || "d")) {
    const base = { b: 2, o: 8, d: 10, x: 16 }[lower || "d"] ?? 10;
    const digits = base === 10 ? intText(value) : value.toString(base);
    const prefix = layout.isAlternate && base !== 10 ? `0${lower}` : "";
    return type === "X" ? [prefix.toUpperCase(), digits.toUpperCase()] : [prefix, digits];
  }
  if (!["", "e", "f", "g", "%"].includes(lower)) fail(`Unknown format code '${type}'`);
  const float = Number(value);
  const text =
    type !== ""
      ? floatDigits(float, lower, layout)
      : layout.precision === null
        ? floatText(float)
        : shortest(float, layout);
  return ["", type !== "" && type === type.toUpperCase() ? text.toUpperCase() : text];
}

/** A float without a type but with a precision: as `g`, with at least one digit behind the point. */
function shortest(value: number, layout: Layout): string {
  const text = floatDigits(value, "g", layout);
  return /[.en]/.test(text) ? text : `${text}.0`;
}

export function padded(
  text: string,
  { fill, align, width }: Pick<Layout, "fill" | "align" | "width">,
): string {
  const [before, after] = padding(Array.from(text).length, align, width);
  return fill.repeat(before) + text + fill.repeat(after);
}

/** Characters to add before and after a text of `length` characters. */
export function padding(
  length: number,
  align: Layout["align"],
  width: number,
): [before: number, after: number] {
  const room = Math.max(0, width - length);
  if (align === ">" || align === "=") return [room, 0];
  return align === "^" ? [Math.floor(room / 2), Math.ceil(room / 2)] : [0, room];
}

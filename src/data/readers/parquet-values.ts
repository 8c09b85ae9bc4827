import type { SchemaElement } from "hyparquet";
import { fromHalf, toHalf } from "../../tensor/half.ts";
import { ExactNumber, isInexact } from "../../text/exact-number.ts";
import { floatText } from "../../text/python-text.ts";

/** A column, or a group of columns, of a Parquet file's schema. */
export interface SchemaNode {
  readonly element: SchemaElement;
  readonly children: readonly SchemaNode[];
  /** What a raw value is in the file's own digits; null where it stands for itself. */
  readonly convert: ((raw: unknown) => unknown) | null;
}

/** The tree of a schema's flat list. `onNaN` is told the column of each NaN, which is read as null. */
export function schemaTree(
  schema: readonly SchemaElement[],
  onNaN: (column: string) => void = () => {},
): SchemaNode {
  let at = 0;
  // `column`: the outermost one, by whose name people know it.
  const next = (column: string | null): SchemaNode => {
    const element = schema[at++] as SchemaElement;
    const own = column ?? element.name;
    const isRoot = at === 1 && (element.num_children ?? 0) > 0;
    const children = Array.from({ length: element.num_children ?? 0 }, () => next(isRoot ? null : own));
    return {
      element,
      children,
      convert: children.length > 0 ? null : converterOf(element, () => onNaN(own)),
    };
  };
  return next(null);
}

/** Paths of the columns below a node, with dots. */
export function leafPaths({ children }: SchemaNode, above = ""): string[] {
  return children.flatMap((child) => {
    const path = `${above}${child.element.name}`;
    return child.children.length === 0 ? [path] : leafPaths(child, `${path}.`);
  });
}

/** The schema as the library should read it: types that it would turn into doubles and dates are read raw, and converted here. */
export function rawSchema(schema: readonly SchemaElement[]): SchemaElement[] {
  return schema.map((element) => {
    const isRaw = converterOf(element, () => {}) !== null && element.logical_type?.type !== "FLOAT16";
    if ((element.num_children ?? 0) > 0 || !isRaw) return element;
    const { converted_type: _, logical_type: __, ...raw } = element;
    return raw;
  });
}

type Convert = (raw: unknown) => unknown;

/** How raw values of a column become what the file says; null for columns that need nothing. */
function converterOf(
  { type, converted_type: ctype, logical_type: ltype, scale }: SchemaElement,
  onNaN: () => void,
): Convert | null {
  const logical = ltype?.type;
  if (ctype === "DECIMAL" || logical === "DECIMAL") {
    const places = (logical === "DECIMAL" && ltype && "scale" in ltype ? ltype.scale : scale) ?? 0;
    return (raw) => decimalText(unscaled(raw), places);
  }
  if (ctype === "DATE" || logical === "DATE") return (raw) => dayText(BigInt(raw as number));
  const time = timeUnit(ctype, ltype);
  if (time?.isOfDay) return (raw) => timeText(BigInt(raw as number) * time.nanos);
  if (time) return (raw) => instantText(BigInt(raw as bigint) * time.nanos, time.isUtc);
  if (type === "INT96") return (raw) => (typeof raw === "bigint" ? instantText(raw, false) : raw);
  if (ctype === "INTERVAL" || logical === "INTERVAL")
    return (raw) => (raw instanceof Uint8Array ? durationText(raw) : raw);
  if (type === "FLOAT" || type === "DOUBLE" || logical === "FLOAT16")
    return (raw) => {
      if (typeof raw !== "number") return raw;
      if (!Number.isNaN(raw)) return floatValue(shortest(raw, roundingOf(type, logical)));
      onNaN();
      return null;
    };
  return null;
}

interface TimeUnit {
  readonly nanos: bigint;
  readonly isUtc: boolean;
  /** A time of the day, not an instant. */
  readonly isOfDay: boolean;
}

function timeUnit(
  ctype: SchemaElement["converted_type"],
  ltype: SchemaElement["logical_type"],
): TimeUnit | null {
  if (ltype?.type === "TIMESTAMP" || ltype?.type === "TIME") {
    const nanos = { MILLIS: 1_000_000n, MICROS: 1_000n, NANOS: 1n }[ltype.unit];
    return { nanos, isUtc: ltype.isAdjustedToUTC, isOfDay: ltype.type === "TIME" };
  }
  const match = /^(TIMESTAMP|TIME)_(MILLIS|MICROS)$/.exec(ctype ?? "");
  if (match === null) return null;
  return { nanos: match[2] === "MILLIS" ? 1_000_000n : 1_000n, isUtc: true, isOfDay: match[1] === "TIME" };
}

/** The whole number of a decimal: an int, or big-endian bytes in two's complement. */
function unscaled(raw: unknown): bigint {
  if (!(raw instanceof Uint8Array)) return BigInt(raw as number | bigint);
  let value = 0n;
  for (const byte of raw) value = (value << 8n) | BigInt(byte);
  return BigInt.asIntN(8 * raw.length, value);
}

function decimalText(value: bigint, places: number): string {
  const digits = (value < 0n ? -value : value).toString().padStart(places + 1, "0");
  const whole = digits.slice(0, digits.length - places);
  return `${value < 0n ? "-" : ""}${whole}${places > 0 ? `.${digits.slice(-places)}` : ""}`;
}

const DAY_NANOS = 86_400_000_000_000n;

function dayText(days: bigint): string {
  const date = new Date(Number(days) * 86_400_000);
  return Number.isNaN(date.getTime()) ? `${days} days` : (date.toISOString().split("T")[0] as string);
}

/** hh:mm:ss, and a fraction where there is one. */
function timeText(nanos: bigint): string {
  const seconds = nanos / 1_000_000_000n;
  const parts = [seconds / 3600n, (seconds / 60n) % 60n, seconds % 60n];
  const fraction = (nanos % 1_000_000_000n).toString().padStart(9, "0").replace(/0+$/, "");
  return parts.map((n) => n.toString().padStart(2, "0")).join(":") + (fraction === "" ? "" : `.${fraction}`);
}

/** ISO 8601; Z for instants, none for local times. */
function instantText(nanos: bigint, isUtc: boolean): string {
  const rest = ((nanos % DAY_NANOS) + DAY_NANOS) % DAY_NANOS;
  return `${dayText((nanos - rest) / DAY_NANOS)}T${timeText(rest)}${isUtc ? "Z" : ""}`;
}

/** Months, days and milliseconds, each an unsigned little-endian number of 32 bits, as ISO 8601 writes a duration: P14M3DT0.5S. */
function durationText(bytes: Uint8Array): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const [months = 0, days = 0, millis = 0] = [0, 4, 8].map((at) => view.getUint32(at, true));
  const date = `${months > 0 ? `${months}M` : ""}${days > 0 ? `${days}D` : ""}`;
  return `P${date}${millis > 0 || date === "" ? `T${millis / 1000}S` : ""}`;
}

/** A float as Python prints it: 5.0, 1e+16, inf. */
function floatValue(value: number): unknown {
  const digits = floatText(value);
  return isInexact(digits) ? new ExactNumber(digits) : value;
}

/** How a type of floats rounds. */
function roundingOf(type: SchemaElement["type"], logical: string | undefined): (value: number) => number {
  if (type === "DOUBLE") return (value) => value;
  if (logical !== "FLOAT16") return Math.fround;
  const out = new Float32Array(1);
  return (value) => {
    fromHalf(toHalf(Float32Array.of(value)), out);
    return out[0] as number;
  };
}

/** The shortest decimal that a type rounds to this value. */
function shortest(value: number, rounded: (value: number) => number): number {
  if (!Number.isFinite(value) || Number.isInteger(value)) return value;
  for (let digits = 1; digits <= 9; digits++) {
    const text = Number(value.toPrecision(digits));
    if (rounded(text) === value) return text;
  }
  return value;
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Bytes as text, where they are that: a column of images stays bytes, and is an error only where text is wanted. */
function textOrBytes(bytes: Uint8Array): string | Uint8Array {
  try {
    return utf8.decode(bytes);
  } catch {
    return bytes;
  }
}

/** A value as the library gives it, with what its columns convert. */
export function converted(value: unknown, node: SchemaNode): unknown {
  if (value === null || value === undefined) return null;
  if (node.convert !== null && !Array.isArray(value)) return node.convert(value);
  if (Array.isArray(value)) return value.map((item) => converted(item, itemNode(node)));
  if (value instanceof ExactNumber) return value; // of a column of JSON texts
  if (value instanceof Uint8Array) return textOrBytes(value);
  if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
  if (typeof value !== "object") return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [key, converted(inner, fieldNode(node, key))]),
  );
}

/** The node of a list's items: below the repeated group, or the node itself where it is repeated. */
function itemNode(node: SchemaNode): SchemaNode {
  const [repeated] = node.children;
  if (repeated === undefined) return node;
  const isList = node.element.converted_type === "LIST" || node.element.logical_type?.type === "LIST";
  return isList && repeated.children.length === 1 ? (repeated.children[0] as SchemaNode) : repeated;
}

/** The node of a field; of a map, that of its values. */
function fieldNode(node: SchemaNode, key: string): SchemaNode {
  const named = node.children.find(({ element }) => element.name === key);
  return named ?? node.children[0]?.children[1] ?? node;
}

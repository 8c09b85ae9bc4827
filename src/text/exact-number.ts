/** A number of a data file that a double would not print as it stands there: 12345678901234567890, 5.0, 1e400; inf and -inf as Python
 *  prints them. */
export class ExactNumber {
  /** As in the file. */
  readonly digits: string;

  constructor(digits: string) {
    this.digits = digits;
  }

  toString(): string {
    return this.digits;
  }

  /** How rows are stored; `revived` gives it back. */
  toJSON(): Readonly<Record<string, string>> {
    return { [MARK]: this.digits };
  }
}

/** Key of a stored number. No other key begins with a control character in practice, and one that does is left alone. */
const MARK = "\u0000number";

/** The number as a double, where it is one or an `ExactNumber`; null for other values. */
export function doubleOf(value: unknown): number | null {
  if (typeof value === "number") return value;
  if (!(value instanceof ExactNumber)) return null;
  return Number(value.digits.replace("inf", "Infinity"));
}

/** Whether a number prints as other digits once it is a double. */
export function isInexact(digits: string): boolean {
  return String(Number(digits)) !== digits;
}

/** JSON text of a value with the marks of numbers that stood in it, as `JSON.stringify` writes them. */
export function parseMarked(json: string): unknown {
  const value: unknown = JSON.parse(json);
  return json.includes(`"\\u0000number":`) ? revived(value) : value;
}

/** A parsed value with its marks as numbers again. */
export function revived(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(revived);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value);
  const [first] = entries;
  if (entries.length === 1 && first?.[0] === MARK && typeof first[1] === "string")
    return new ExactNumber(first[1]);
  return Object.fromEntries(entries.map(([key, inner]) => [key, revived(inner)]));
}

/** How a number is marked in JSON text. */
export function markedJson(digits: string): string {
  return `{"\\u0000number":"${digits}"}`;
}

/** What Python's `str.strip()` takes for white space: not U+FEFF, which JavaScript trims, but U+001C to U+001F and
 *  U+0085, which it does not. */
const SPACES = "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000";
export const isSpace = (char: string): boolean =>
  SPACES.includes(char) || (char >= "\u2000" && char <= "\u200a");

/** Python's `strip`, `lstrip` or `rstrip`; `chars`: the set of characters to strip, white space without it. */
export function pythonStrip(
  text: string,
  method: "strip" | "lstrip" | "rstrip" = "strip",
  chars: string | null = null,
): string {
  const set = chars === null ? null : new Set(chars);
  const strips = (char: string): boolean => (set === null ? isSpace(char) : set.has(char));
  const characters = Array.from(text);
  let start = 0;
  let end = characters.length;
  if (method !== "rstrip") while (start < end && strips(characters[start] as string)) start++;
  if (method !== "lstrip") while (end > start && strips(characters[end - 1] as string)) end--;
  return characters.slice(start, end).join("");
}

/** Python's `text.split()`: the runs of anything but white space. */
export function pythonSplit(text: string): string[] {
  const words: string[] = [];
  let word = "";
  for (const char of text) {
    if (!isSpace(char)) word += char;
    else if (word !== "") {
      words.push(word);
      word = "";
    }
  }
  return word === "" ? words : [...words, word];
}

/** Python's `repr` of a float. */
export function floatText(value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  if (Object.is(value, -0)) return "-0.0";
  const [digits = "", exponent = "0"] = value.toExponential().split("e");
  const power = Number(exponent);
  if (value !== 0 && (power < -4 || power >= 16))
    return `${digits}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
  const text = String(value);
  if (/e/.test(text)) return `${value.toFixed(-power + digits.replace(/[-.]/g, "").length - 1)}`;
  return text.includes(".") ? text : `${text}.0`;
}

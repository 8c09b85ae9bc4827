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

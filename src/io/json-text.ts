const BACKSLASH = 92;
const COLON = 58;

/** Index of the quote that closes the string opened at `start`, or the end of the text. */
export function stringEnd(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end >= 0; end = text.indexOf('"', end + 1)) {
    let slashes = 0;
    while (text.charCodeAt(end - 1 - slashes) === BACKSLASH) slashes++;
    if (slashes % 2 === 0) return end;
  }
  return text.length;
}

/** Whether a colon is the next thing behind an index, white space apart: what ended there is a key. */
export function isFollowedByColon(text: string, index: number): boolean {
  let i = index;
  while (i < text.length && text.charCodeAt(i) <= 32) i++;
  return text.charCodeAt(i) === COLON;
}

/** A key as it reads once its escapes are resolved: `"\\u0061"` is the same key as `"a"`. */
export function keyText(literal: string): string {
  if (!literal.includes("\\")) return literal.slice(1, -1);
  try {
    return String(JSON.parse(literal));
  } catch {
    return literal; // JSON.parse of the whole text reports it
  }
}

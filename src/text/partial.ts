/** Length of the longest end of the text that one of the strings begins with, but does not end with. */
export function partialLength(text: string, strings: readonly string[]): number {
  let longest = 0;
  for (const string of strings) {
    for (let n = Math.min(string.length - 1, text.length); n > longest; n--) {
      if (text.endsWith(string.slice(0, n))) longest = n;
    }
  }
  return longest;
}

/** Index after the JSON value that begins at `from` (white space in front skipped), or −1 while it is not complete. It only counts
 *  brackets and strings: whether it is JSON, `JSON.parse` tells. A number or a word is complete where something follows it. */
export function jsonEnd(text: string, from: number): number {
  const start = skipSpace(text, from);
  const first = text[start];
  if (first === undefined) return -1;
  if (first === '"') return stringEnd(text, start);
  if (first !== "{" && first !== "[") {
    const after = text.slice(start).search(/[\s,}\]:;]/);
    return after < 0 ? -1 : start + Math.max(after, 1);
  }
  let depth = 0;
  for (let at = start; at < text.length; at++) {
    const character = text[at] as string;
    if (character === '"') {
      at = stringEnd(text, at) - 1;
      if (at < 0) return -1;
    } else if ("{[".includes(character)) depth++;
    else if ("}]".includes(character) && --depth === 0) return at + 1;
  }
  return -1;
}

function stringEnd(text: string, from: number): number {
  for (let at = from + 1; at < text.length; at++) {
    if (text[at] === "\\") at++;
    else if (text[at] === '"') return at + 1;
  }
  return -1;
}

/** Index of the first character from `from` on that is no white space. */
export function skipSpace(text: string, from: number): number {
  let at = from;
  while (at < text.length && /\s/.test(text[at] as string)) at++;
  return at;
}

/** The fields of a JSON object, each value as it is written; null for any other text. */
export function jsonFields(text: string): ReadonlyMap<string, string> | null {
  const items = jsonItems(text, "{", "}");
  if (items === null) return null;
  const fields = new Map<string, string>();
  for (const item of items) {
    const end = jsonEnd(item, 0);
    fields.set(JSON.parse(item.slice(0, end)) as string, item.slice(item.indexOf(":", end) + 1).trim());
  }
  return fields;
}

/** The values of a JSON array, each as it is written; null for any other text. */
export function jsonValues(text: string): readonly string[] | null {
  return jsonItems(text, "[", "]");
}

/** What stands between the commas of an object or array; null unless the text is one. */
function jsonItems(text: string, open: string, close: string): readonly string[] | null {
  const whole = text.trim();
  if (!whole.startsWith(open) || !isJson(whole)) return null;
  const items: string[] = [];
  for (let at = skipSpace(whole, 1), start = at; whole[start] !== close; ) {
    at = skipSpace(whole, jsonEnd(whole, at));
    if (whole[at] === ":") at++;
    else {
      items.push(whole.slice(start, at));
      if (whole[at] === close) break;
      start = skipSpace(whole, at + 1);
      at = start;
    }
  }
  return items;
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** A token beside the model's own vocabulary, as tokenizer.json lists it. */
export interface AddedToken {
  readonly content: string;
  readonly id: number;
  readonly special?: boolean;
  /** Takes the white space to its left or right with it. */
  readonly lstrip?: boolean;
  readonly rstrip?: boolean;
  /** Only where no word character stands beside it. */
  readonly single_word?: boolean;
  /** Matched against normalized text. */
  readonly normalized?: boolean;
}

/** [start, end) in UTF-16 units of a text. */
export type Span = readonly [start: number, end: number];

/** Function that cuts text at the given tokens, leftmost first and longest first, except where a match touches a
 *  `literal` range. Sections of ordinary text may be empty only when the whole text is. */
export function splitter(
  tokens: readonly AddedToken[],
): (text: string, literal?: readonly Span[]) => TextSection[] {
  if (tokens.length === 0) return (text) => [{ start: 0, text, id: null }];
  const ids = new Map(tokens.map((t) => [t.content, t.id]));
  const longestFirst = [...tokens].sort((a, b) => b.content.length - a.content.length);
  const pattern = new RegExp(longestFirst.map(matcher).join("|"), "gu");
  return (text, literal = []) => {
    const sections: TextSection[] = [];
    let end = 0;
    const push = (until: number): void => {
      if (until > end) sections.push({ start: end, text: text.slice(end, until), id: null });
    };
    pattern.lastIndex = 0;
    for (let match = pattern.exec(text); match !== null; match = pattern.exec(text)) {
      const [found] = match;
      const start = match.index;
      const stop = start + found.length;
      const id = ids.get(found) ?? ids.get(found.trim());
      // White space that a token takes with it may belong to a literal range, the token itself may not.
      const from = start + found.length - found.trimStart().length;
      const until = start + found.trimEnd().length;
      if (id === undefined || literal.some((range) => from < range[1] && range[0] < until)) {
        pattern.lastIndex = start + 1;
        continue;
      }
      push(start);
      sections.push({ start, text: found, id });
      end = stop;
    }
    push(text.length);
    return sections.length > 0 ? sections : [{ start: 0, text, id: null }];
  };
}

function matcher(token: AddedToken): string {
  const content = token.content.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
  const word = token.single_word ? `(?<![\\p{L}\\p{N}_])${content}(?![\\p{L}\\p{N}_])` : content;
  return `${token.lstrip ? "\\s*" : ""}${word}${token.rstrip ? "\\s*" : ""}`;
}

/** A stretch of text between special tokens, or (with `id`) one special token. */
export interface TextSection {
  /** Offset in the text cut up, in UTF-16 units. */
  readonly start: number;
  readonly text: string;
  /** Id of the special token, or null for ordinary text. */
  readonly id: number | null;
}

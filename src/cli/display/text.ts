/** Text laid out in a terminal's cells. Pure. */

// Han, kana, hangul, full-width forms and emoji take two cells.
const WIDE =
  /[\u1100-\u115F\u2E80-\u303E\u3041-\uA4CF\uA960-\uA97F\uAC00-\uD7A3\uF900-\uFAFF\uFE30-\uFE6F\uFF00-\uFF60\uFFE0-\uFFE6]|\p{Emoji_Presentation}|[\u{20000}-\u{3FFFD}]/u;
const ZERO = /\p{Mark}|\u200B|\u200D|\uFE0F/u;

/** Cells a text takes (no escape sequences in it). */
export function cellWidth(text: string): number {
  let cells = 0;
  for (const ch of text) cells += ZERO.test(ch) ? 0 : WIDE.test(ch) ? 2 : 1;
  return cells;
}

/** Control characters made visible, so that data and model outputs cannot steer the terminal; newlines stay. */
export function printable(text: string): string {
  return text
    .replace(/\r\n?/g, "\n")
    .replace(/\t/g, "  ")
    .replace(/\p{Cc}/gu, (ch) =>
      ch === "\n" ? ch : ch < " " ? String.fromCodePoint(0x2400 + ch.charCodeAt(0)) : "\uFFFD",
    )
    .replace(/[\u202A-\u202E\u2066-\u2069]/g, "\uFFFD"); // bidirectional overrides
}

/** The text cut to `cells`, "…" at its end where something is missing. */
export function truncate(text: string, cells: number): string {
  if (cellWidth(text) <= cells) return text;
  let kept = "";
  for (const ch of text) {
    if (cellWidth(kept + ch) > cells - 1) break;
    kept += ch;
  }
  return cells > 0 ? `${kept}…` : "";
}

/** The text padded with spaces to `cells`. */
export function pad(text: string, cells: number): string {
  return text + " ".repeat(Math.max(0, cells - cellWidth(text)));
}

/** Lines of at most `cells`, broken at spaces where possible. */
export function wrap(text: string, cells: number): string[] {
  return text.split("\n").flatMap((line) => wrapLine(line, Math.max(1, cells)));
}

function wrapLine(line: string, cells: number): string[] {
  const lines: string[] = [];
  let current = "";
  for (const word of line.split(/(?<= )/)) {
    if (current !== "" && cellWidth(current + word.trimEnd()) > cells) {
      lines.push(current.trimEnd());
      current = "";
    }
    current += word;
    while (cellWidth(current.trimEnd()) > cells) {
      const head = longestPrefix(current, cells);
      lines.push(head);
      current = current.slice(head.length);
    }
  }
  return [...lines, current.trimEnd()];
}

function longestPrefix(text: string, cells: number): string {
  let kept = "";
  for (const ch of text) {
    if (kept !== "" && cellWidth(kept + ch) > cells) break;
    kept += ch;
  }
  return kept;
}

/** Rows of a label and a text, the texts aligned and wrapped. */
export function labelled(given: readonly (readonly [string, string])[], columns: number): string[] {
  const rows = given.map(([label, text]): [string, string] => [printable(label), text]);
  const width = Math.max(...rows.map(([label]) => cellWidth(label))) + 2;
  return rows.flatMap(([label, text]) =>
    wrap(printable(text), columns - width).map((line, i) => pad(i === 0 ? label : "", width) + line),
  );
}

/** Texts beside each other in columns of equal width, wrapped; the first row is their heading. */
export function sideBySide(left: string, right: string, columns: number): string[] {
  const width = Math.floor((columns - 3) / 2);
  const [a, b] = [wrap(left, width), wrap(right, width)];
  return Array.from({ length: Math.max(a.length, b.length) }, (_, i) =>
    `${pad(a[i] ?? "", width)} │ ${b[i] ?? ""}`.trimEnd(),
  );
}

/** A table with aligned columns; columns named in `right` are aligned to the right. */
export function table(given: readonly (readonly string[])[], right: readonly number[] = []): string[] {
  const rows = given.map((row) => row.map((cell) => printable(cell).replaceAll("\n", " ")));
  const count = Math.max(0, ...rows.map((row) => row.length));
  const widths = Array.from({ length: count }, (_, c) => Math.max(...rows.map((r) => cellWidth(r[c] ?? ""))));
  return rows.map((row) =>
    row
      .map((cell, c) => {
        const room = " ".repeat((widths[c] as number) - cellWidth(cell));
        return right.includes(c) ? room + cell : cell + room;
      })
      .join("  ")
      .trimEnd(),
  );
}

import { expect, test } from "vitest";
import { type Line, linesOf, type Piece, terminalSvg } from "../scripts/terminal-recording.mjs";

const ESC = "\u001b";
const pieces = (...texts: readonly string[]): Piece[] =>
  texts.map((text, i) => ({ atMs: i * 1000, bytes: Buffer.from(text) }));
const statesOf = ({ states }: Line): string[] => states.map(({ cells }) => cells.map((c) => c.ch).join(""));

test("a bar drawn over itself is one line with several states; long lines go on in the next row", () => {
  const bar = (text: string): string => `${ESC}[1G${text}${ESC}[0K`;
  const lines = linesOf(pieces("plan\n", bar("##.. 50%"), bar("####"), `\n${"x".repeat(85)}`));
  expect(lines.map(statesOf)).toEqual([["plan"], ["##.. 50%", "####"], ["x".repeat(80)], ["xxxxx"]]);
});

test("characters may be cut between two pieces, and unknown sequences are refused", () => {
  const [first, second] = [Buffer.from("→").subarray(0, 1), Buffer.from("→").subarray(1)];
  const lines = linesOf([
    { atMs: 0, bytes: first },
    { atMs: 1, bytes: second },
  ]);
  expect(lines.flatMap(statesOf).at(-1)).toBe("→");
  expect(() => linesOf(pieces(`${ESC}[5A`))).toThrow("unknown sequence");
});

test("the drawing holds the text with its colours, escaped, and asks for nothing", () => {
  const svg = terminalSvg(
    linesOf(pieces(`${ESC}[32m<ok>${ESC}[39m & ${ESC}[2mdim${ESC}[22m\n\n`)),
    "A terminal",
  );
  expect(svg).toContain('<tspan fill="#7ee787">&#60;ok&#62;</tspan> &#38; <tspan class="d">dim</tspan>');
  expect(svg.match(/https?:[^"]+/g)).toEqual(["http://www.w3.org/2000/svg"]);
  expect(svg).not.toMatch(/url\(|href|<script/);
});

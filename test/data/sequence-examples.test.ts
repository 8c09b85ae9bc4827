import { describe, expect, test } from "vitest";
import type { Row } from "../../src/data/formats/format.ts";
import { noteText } from "../../src/data/notes.ts";
import {
  encodeSequences,
  type SequenceCodec,
  type SequenceOptions,
} from "../../src/data/sequence-examples.ts";

/** One token per character. */
const codec: SequenceCodec = {
  encode: (text, _pair, maxLength) => {
    const ids = Array.from(text, (char) => char.charCodeAt(0));
    const kept = ids.slice(0, maxLength);
    return { ids: kept, types: kept.map(() => 0), cut: ids.length - kept.length };
  },
  classifier: { labels: ["no", "yes"], kind: "classes" },
};

const rowsOf = (...rows: Row[]) =>
  rows.map((row, i) => ({ row, where: { file: "a.jsonl", line: i + 1, unit: "line" as const } }));

const labelled = (text: string, label: string): Row => ({ kind: "labelled", text, pair: null, label });

const encode = (rows: ReturnType<typeof rowsOf>, options: Partial<SequenceOptions> = {}) =>
  encodeSequences(rows, codec, { maxLength: 5, truncation: "left", ...options });

describe("encodeSequences", () => {
  const rows = rowsOf(labelled("abc", "yes"), labelled("de", "maybe"), { kind: "text", text: "x" });

  test("a row that cannot be learned from is an error with its line", async () => {
    const failure = encode(rows);
    await expect(failure).rejects.toThrow('a.jsonl:2: unknown label "maybe"; known: no (0), yes (1)');
    await expect(failure).rejects.toThrow("a.jsonl:3: has no label");
  });

  test("onBadRow drop leaves such rows out, and counts them", async () => {
    const { examples, report } = await encode(rows, { onBadRow: "drop" });
    expect([examples.length, report.rows, report.examples]).toEqual([1, 3, 1]);
    expect(report.notes.map(noteText)).toEqual([
      '2 malformed rows left out, the first: unknown label "maybe"; known: no (0), yes (1) (first: a.jsonl:2)',
    ]);
  });

  test("rows that are too long are no bad rows; where none is left, the error says why", async () => {
    const long = rowsOf(labelled("abcdef", "yes"));
    expect((await encode(long)).report.truncated).toBe(1);
    await expect(encode(long, { truncation: "error", onBadRow: "drop" })).rejects.toThrow(
      "a.jsonl:1: 6 tokens are more than maxLength 5",
    );
    await expect(encode(long, { truncation: "drop" })).rejects.toThrow("all 1 rows are longer than 5 tokens");
    await expect(encode(rows.slice(1), { onBadRow: "drop" })).rejects.toThrow("2 malformed rows left out");
  });
});

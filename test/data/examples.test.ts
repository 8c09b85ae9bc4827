import { describe, expect, it } from "vitest";
import { previewExample } from "../../src/data/encode.ts";
import { type EncodedDataset, type EncodeOptions, encodeDataset } from "../../src/data/examples.ts";
import type { Row } from "../../src/data/formats/format.ts";
import type { DatasetRow } from "../../src/data/rows.ts";
import { chatCodec, plainCodec } from "./codecs.ts";

const rowsOf = (...rows: Row[]): DatasetRow[] =>
  rows.map((row, i) => ({ row, where: { file: "a.jsonl", line: i + 1, unit: "line" } }));
const pair = (prompt: string, completion: string): Row => ({
  kind: "conversation",
  messages: [
    { role: "user", content: prompt },
    { role: "assistant", content: completion },
  ],
});

const codec = chatCodec(null); // one token a digit
const encode = (rows: DatasetRow[], options: EncodeOptions): ReturnType<typeof encodeDataset> =>
  encodeDataset(rows, codec, options);
const texts = (dataset: EncodedDataset): string[] =>
  Array.from(dataset.examples, (example) =>
    previewExample(example, codec.tokenizer)
      .map(({ text, isLabel }) => (isLabel ? `[${text}]` : text))
      .join(""),
  );

describe("encodeDataset", () => {
  it("counts what it did", async () => {
    const dataset = await encode(rowsOf(pair("1212", "33"), pair("1", "323")), { maxLength: 100 });
    expect(texts(dataset)).toEqual(["1212[33<|im_end|>]", "1[323<|im_end|>]"]);
    expect(dataset.report).toEqual({
      rows: 2,
      examples: 2,
      sequences: 2,
      truncated: 0,
      truncatedLabels: 0,
      dropped: 0,
      split: 0,
      notes: [],
      promptTokens: 5,
      labelTokens: 7,
      longest: 7,
    });
  });

  it("cuts the left of the prompt, and drops a row whose completion does not fit", async () => {
    const rows = rowsOf(pair("1212", "33"), pair("1212", "3333"), pair("1", "333"), pair("1", "3"));
    const dataset = await encode(rows, { maxLength: 5 });
    expect(texts(dataset)).toEqual(["12[33<|im_end|>]", "1[333<|im_end|>]", "1[3<|im_end|>]"]);
    expect([...dataset.rowOf]).toEqual([0, 2, 3]);
    expect(Array.from(dataset.examples, (example) => example.index)).toEqual([0, 1, 2]);
    expect(dataset.report).toMatchObject({ rows: 4, examples: 3, truncated: 1, dropped: 1, longest: 9 });
  });

  it("drops or refuses every row that is too long, if asked to", async () => {
    const rows = rowsOf(pair("1212", "33"), pair("1", "3"));
    const dropped = await encode(rows, { maxLength: 5, truncation: "drop" });
    expect(dropped.report).toMatchObject({ examples: 1, truncated: 0, dropped: 1 });
    await expect(encode(rows, { maxLength: 5, truncation: "error" })).rejects.toThrow(
      "The data cannot be trained on (1 problem)\n  a.jsonl:1: 7 tokens are more than maxLength 5",
    );
  });

  it("keeps the completion whole in every way of cutting", async () => {
    for (let prompt = 0; prompt < 9; prompt++)
      for (let completion = 1; completion < 9; completion++)
        for (let maxLength = 2; maxLength < 12; maxLength++) {
          const row = pair("1".repeat(prompt), "32".repeat(9).slice(0, completion));
          for (const one of [codec, plainCodec()]) {
            let dataset: EncodedDataset;
            try {
              dataset = await encodeDataset(rowsOf(row), one, { maxLength });
            } catch (error) {
              expect(String(error)).toContain("No examples are left");
              continue;
            }
            const [example] = dataset.examples;
            const labels = example?.ids.filter((_, i) => example.isLabel[i] === 1) ?? [];
            const bare = one === codec && prompt === 0 ? 1 : 0; // nothing to predict its first token from
            const whole = [
              ...one.tokenizer.encode("32".repeat(9).slice(0, completion), { continues: prompt > 0 }),
            ];
            expect([...labels]).toEqual([...whole, one.tokenizer.eosId].slice(bare));
            expect(example?.ids.length).toBeLessThanOrEqual(maxLength);
            expect(example?.isLabel[0]).toBe(0);
          }
        }
  });

  it("keeps BOS when it cuts", async () => {
    const one = plainCodec();
    const dataset = await encodeDataset(rowsOf(pair("1 2 1 2 1 2 1 2", "3")), one, { maxLength: 7 });
    const [example] = dataset.examples;
    expect(example?.ids[0]).toBe(one.tokenizer.bosId);
    expect(example?.ids.length).toBe(7);
  });

  it("says how many labels of earlier turns were cut away", async () => {
    const messages = (["user", "assistant", "user", "assistant"] as const).map((role) => ({
      role,
      content: "3",
    }));
    const rows = rowsOf({ kind: "conversation", messages });
    const whole = await encodeDataset(rows, chatCodec(), { maxLength: 1000 });
    const length = whole.report.longest;
    const cut = await encodeDataset(rows, chatCodec(), { maxLength: length - 8 });
    expect(whole.report).toMatchObject({ labelTokens: 6, truncatedLabels: 0 });
    expect(cut.report.truncated).toBe(1);
    expect(cut.report.labelTokens + cut.report.truncatedLabels).toBe(6);
    expect((await encodeDataset(rows, chatCodec(), { maxLength: 4 })).report).toMatchObject({
      labelTokens: 3,
      truncatedLabels: 3,
    });
  });

  it("splits plain text into windows that learn every token but the first exactly once", async () => {
    const text = "12332132113";
    for (let maxLength = 2; maxLength < 14; maxLength++) {
      const {
        examples: encoded,
        report,
        rowOf,
      } = await encode(rowsOf({ kind: "text", text }), { maxLength });
      const examples = [...encoded];
      const learned = examples.flatMap(({ ids, isLabel }) => [...ids].filter((_, i) => isLabel[i] === 1));
      expect(learned).toEqual([...codec.tokenizer.encode(text), codec.tokenizer.eosId].slice(1));
      expect(Math.max(...examples.map(({ ids }) => ids.length))).toBeLessThanOrEqual(maxLength);
      expect([...rowOf]).toEqual(examples.map(() => 0));
      expect(report).toMatchObject({ rows: 1, dropped: 0, truncated: 0, split: maxLength < 12 ? 1 : 0 });
    }
  });

  it("reports every row that cannot be trained on, by file and line", async () => {
    const user: Row = { kind: "conversation", messages: [{ role: "user", content: "1" }] };
    await expect(encode(rowsOf(user, pair("1", "3"), user), { maxLength: 10 })).rejects.toThrow(
      "The data cannot be trained on (2 problems)\n  a.jsonl:1: the model has no chat template, so a row must be one prompt and one completion; got user\n  a.jsonl:3: ",
    );
  });

  it("refuses to train on nothing, and lengths that hold nothing", async () => {
    await expect(encode([], { maxLength: 10 })).rejects.toThrow(
      "No examples are left (1 problem)\n  maxLength: there are no rows",
    );
    await expect(encode(rowsOf(pair("1", "3333")), { maxLength: 5 })).rejects.toThrow(
      "maxLength: all 1 rows are longer than 5 tokens; the longest has 6",
    );
    await expect(encode(rowsOf(pair("1", "3")), { maxLength: 1 })).rejects.toThrow(
      "Invalid option\n  maxLength: expected at least 2 tokens, got 1",
    );
  });
});

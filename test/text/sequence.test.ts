import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { readHfTokenizer } from "../../src/formats/hf/tokenizer.ts";
import { folderStorage } from "../../src/io/storage/disk-storage.ts";
import { sequenceEncoder } from "../../src/text/sequence.ts";
import { createTokenizer } from "../../src/text/tokenizer.ts";

const FIXTURES = new URL("../fixtures/encoders/", import.meta.url);

interface Case {
  readonly first: string;
  readonly second?: string | null;
  readonly maxLength?: number;
  readonly ids: number[];
  readonly types: number[];
}

type Texts = Record<"bert" | "roberta", Record<"single" | "pair" | "cut", Case[]>>;
const texts = JSON.parse(await readFile(new URL("texts.json", FIXTURES), "utf8")) as Texts;

describe.each(["bert", "roberta"] as const)("%s encodes as transformers does", async (name) => {
  const source = await readHfTokenizer(folderStorage(fileURLToPath(new URL(name, FIXTURES))));
  const encode = sequenceEncoder(createTokenizer(source), source.tokenizerJson);

  test.each(["single", "pair", "cut"] as const)("%s", (kind) => {
    for (const { first, second = null, maxLength = 1000, ids, types } of texts[name][kind]) {
      const got = encode(first, second, maxLength);
      const want = { ids, types };
      expect({ ids: got.ids, types: got.types }, JSON.stringify([first, second, maxLength])).toEqual(want);
    }
  });
});

test("special tokens that only the post-processor names, as old BERT folders have them, and its older kinds", async () => {
  const source = await readHfTokenizer(folderStorage(fileURLToPath(new URL("bert", FIXTURES))));
  const bare = {
    ...source,
    tokenizerConfig: {},
    bosToken: null,
    eosToken: null,
    padToken: null,
    unkToken: null,
  };
  const old = { type: "BertProcessing", sep: ["[SEP]", 3], cls: ["[CLS]", 2] };
  for (const processor of [
    source.tokenizerJson.post_processor,
    old,
    { type: "Sequence", processors: [old] },
  ]) {
    const encode = sequenceEncoder(createTokenizer(bare), { post_processor: processor });
    for (const { first, second = null, ids, types } of [...texts.bert.single, ...texts.bert.pair])
      expect(encode(first, second, 1000)).toEqual({ ids, types, cut: 0 });
  }
});

test("a post-processor that is malformed is an error, one that is unknown adds nothing", async () => {
  const source = await readHfTokenizer(folderStorage(fileURLToPath(new URL("bert", FIXTURES))));
  const tokenizer = createTokenizer(source);
  const open = (post_processor: unknown) => sequenceEncoder(tokenizer, { post_processor });
  expect(() => open({ type: "BertProcessing", cls: ["[CLS]"] })).toThrow(
    'expected "cls" as a token and its id',
  );
  expect(() => open({ type: "TemplateProcessing", single: [] })).toThrow('expected a list "pair"');
  const unknown = {
    type: "TemplateProcessing",
    single: [{ SpecialToken: { id: "?", type_id: 0 } }],
    pair: [],
  };
  expect(() => open(unknown)).toThrow('"single" has an unknown token');
  const { ids, types } = open({ type: "ByteLevel" })("a film", "a", 100);
  expect([ids, types]).toEqual([
    [...tokenizer.encode("a film"), ...tokenizer.encode("a")],
    [0, 0, 1],
  ]);
});

import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { readHfTokenizer } from "../../src/formats/hf-tokenizer.ts";
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
  const source = await readHfTokenizer(fileURLToPath(new URL(name, FIXTURES)));
  const encode = sequenceEncoder(createTokenizer(source), source.tokenizerJson);

  test.each(["single", "pair", "cut"] as const)("%s", (kind) => {
    for (const { first, second = null, maxLength = 1000, ids, types } of texts[name][kind]) {
      const got = encode(first, second, maxLength);
      const want = { ids, types };
      expect({ ids: got.ids, types: got.types }, JSON.stringify([first, second, maxLength])).toEqual(want);
    }
  });
});

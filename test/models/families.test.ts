import { describe, expect, test } from "vitest";
import { parseHfConfig } from "../../src/formats/hf/config.ts";
import { hfTensorName, isTransposed } from "../../src/formats/names.ts";
import { familyOf } from "../../src/models/families.ts";
import { moduleWeights } from "../../src/models/family.ts";
import { type Architecture, readFixture } from "../formats/fixtures.ts";

const fixture = await readFixture<Record<string, Architecture>>("architectures.json");

describe.each(Object.entries(fixture))("%s", (_, { config: json, tensors }) => {
  test("has exactly the weights of the transformers model, with their shapes", () => {
    const config = parseHfConfig(json, "config.json");
    const family = familyOf(config.family);
    const ours = family
      .modules(config)
      .flatMap(moduleWeights)
      .map(({ path, shape }) => [
        hfTensorName(family.name, path),
        isTransposed(family.name, path) ? shape.toReversed() : [...shape],
      ]);
    // A tied model lists its head, which is the embedding.
    const theirs = Object.entries(tensors).filter(
      ([name]) => !(config.tiedEmbeddings && name === "lm_head.weight"),
    );
    expect(Object.fromEntries(ours)).toEqual(Object.fromEntries(theirs));
    expect(new Set(ours.map(([name]) => name)).size).toBe(ours.length);
  });
});

test("an unknown family is an error that lists the known ones", () => {
  expect(() => familyOf("t5")).toThrow(
    'unknown model family "t5"; known: llama, qwen2, qwen3, gemma3, phi3, gpt2, bert, roberta',
  );
});

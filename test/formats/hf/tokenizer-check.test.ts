import { expect, it } from "vitest";
import { InputError } from "../../../src/errors.ts";
import { checkTokenizerJson } from "../../../src/formats/hf/tokenizer-check.ts";

it.each([
  [{ added_tokens: {} }, "added_tokens: expected a list, got an object"],
  [{ added_tokens: [null] }, "added_tokens[0]: expected an object"],
  [{ added_tokens: [{ content: "a", id: -1 }] }, "added_tokens[0]: expected an object"],
  [{ added_tokens: [{ content: "a".repeat(5000), id: 1 }] }, "added_tokens[0]: expected an object"],
  [{ model: { vocab: { a: "x" } } }, 'model.vocab.a: expected an id, got "x"'],
  [{ model: { vocab: { a: 2 ** 40 } } }, "model.vocab.a: expected an id, got 1099511627776"],
  [{ model: { vocab: [["a", 0.5], ["b"]] } }, "model.vocab[1]: expected a token and its score"],
  [{ model: { merges: ["a b", ["a", "b"], null] } }, "model.merges[2]: expected two tokens"],
])("%j", (json, message) => {
  expect(() => checkTokenizerJson(json, "tokenizer.json")).toThrow(InputError);
  expect(() => checkTokenizerJson(json, "tokenizer.json")).toThrow(
    `tokenizer.json is not a tokenizer:\n  ${message}`,
  );
});

it("names the first ten, and takes what is sound", () => {
  const vocab = Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`t${i}`, null]));
  expect(() => checkTokenizerJson({ model: { vocab } }, "t")).toThrow(/model\.vocab\.t9: [^\n]*$/);
  checkTokenizerJson(
    { model: { vocab: { a: 0 }, merges: [] }, added_tokens: [{ content: "<s>", id: 1 }] },
    "t",
  );
  checkTokenizerJson({}, "t");
});

import { describe, expect, test } from "vitest";
import { InputError } from "../../src/errors.ts";
import type { AdapterText } from "../../src/formats/peft/text.ts";
import { modelText, textDifference, withAdapterText } from "../../src/models/model-text.ts";
import { tinySource } from "../text/fixtures.ts";

const TEMPLATE = "{{ mood }}{{ strftime_now('%Y-%m-%d') }}{% for m in messages %}{{ m.content }}{% endfor %}";
const source = tinySource("smollm2", { chatTemplate: TEMPLATE });
const MESSAGES = [{ role: "user" as const, content: "hi" }];
const variables = { args: { mood: "calm " }, date: "2026-01-31" };

const modelOf = (given = variables) => {
  const text = modelText(source, [0], given);
  return {
    ...text,
    source: { tokenizer: source, eosIds: [0] },
    config: { vocabSize: text.tokenizer.vocabSize },
  };
};
const ADAPTER: AdapterText = { tokenizer: null, chatTemplate: null, templateArgs: {} };

describe("modelText", () => {
  test("a template has its variables and its day in every rendering", () => {
    expect(modelOf().template?.render(MESSAGES)).toBe("calm 2026-01-31hi");
    expect(modelOf().template?.render(MESSAGES, { extra: { mood: "" } })).toBe("2026-01-31hi");
  });

  test("variables that the template does not use, or that are not the caller's, are errors, all at once", () => {
    const args = { moood: 1, messages: [], bos_token: "x" };
    const wrong = (): unknown => modelText(source, [0], { args, date: null });
    expect(wrong).toThrow(InputError);
    for (const message of [
      "templateArgs.moood: the chat template has no such variable",
      "templateArgs.messages: is not a variable that can be set",
      "templateArgs.bos_token: is not a variable that can be set",
    ])
      expect(wrong).toThrow(message);
    const none = tinySource("smollm2", { chatTemplate: null });
    expect(() => modelText(none, [0], variables)).toThrow(
      "templateArgs.mood: the model has no chat template",
    );
  });
});

describe("withAdapterText", () => {
  test("what is given counts over what the adapter was trained with", () => {
    const bare = modelOf({ args: {} as { mood: string }, date: "2026-01-31" });
    const adapter = { ...ADAPTER, templateArgs: { mood: "glad " } };
    expect(withAdapterText(bare, adapter).template?.render(MESSAGES)).toBe("glad 2026-01-31hi");
    expect(withAdapterText(modelOf(), adapter).template?.render(MESSAGES)).toBe("calm 2026-01-31hi");
    expect(withAdapterText(bare, adapter).source).toBe(bare.source);
  });

  test("its template takes the place of the model's, in what is written too", () => {
    const adapter = { ...ADAPTER, chatTemplate: "{{ mood }}<|im_end|>" };
    const dressed = withAdapterText(modelOf(), adapter);
    expect(dressed.template?.render(MESSAGES)).toBe("calm <|im_end|>");
    expect(dressed.source.tokenizer.chatTemplate).toBe(adapter.chatTemplate);
    expect(dressed.eosIds).toContain(dressed.tokenizer.tokenId("<|im_end|>"));
    expect(textDifference(adapter, source)).toBe("chat template");
    expect(textDifference(ADAPTER, source)).toBe("");
  });

  test("a tokenizer with tokens that the model has no rows for is refused", () => {
    const { vocabSize } = modelOf().tokenizer;
    const more = {
      ...source,
      tokenizerJson: {
        ...source.tokenizerJson,
        added_tokens: [{ id: vocabSize, content: "<new>", special: true }],
      },
    };
    expect(() => withAdapterText(modelOf(), { ...ADAPTER, tokenizer: more })).toThrow(
      `tokenizer.json: has ${vocabSize + 1} tokens, and the model has ${vocabSize}`,
    );
  });
});

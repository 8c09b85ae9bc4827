import { beforeAll, describe, expect, it } from "vitest";
import type { ModelSource } from "../../src/formats/model.ts";
import { openModel } from "../../src/formats/open-model.ts";
import { resolveModel } from "../../src/hub/resolve.ts";
import { encodeTurn } from "../../src/text/chat-encode.ts";
import { createChatTemplate } from "../../src/text/chat-template.ts";
import { createTokenizer, type Tokenizer } from "../../src/text/tokenizer.ts";
import { type EncodedString, fixture } from "../text/fixtures.ts";

const MODEL = "smollm2-135m";
const strings = fixture<string[]>("strings.json");
const encoded = fixture<{ results: EncodedString[] }>("smollm2-full.ids.json").results;
const chats = fixture<{ oddStrings: EncodedString[] }>("smollm2-full.chat.json").oddStrings;

describe("SmolLM2's tokenizer, from whatever form the model came in", () => {
  let source: ModelSource;
  let tokenizer: Tokenizer;
  beforeAll(async () => {
    source = await openModel(await resolveModel(MODEL), MODEL);
    tokenizer = createTokenizer(source.tokenizer);
    await source.close();
  }, 600_000);

  it("gives transformers' ids for 200 odd strings", () => {
    encoded.forEach(({ ids }, i) => {
      const text = strings[i] as string;
      expect([text, tokenizer.encode(text, { special: true })]).toEqual([text, ids]);
    });
  });

  it("gives transformers' ids with special tokens literal, and decodes as it does", () => {
    encoded.forEach(({ ids, literal, decoded }, i) => {
      const text = strings[i] as string;
      expect([text, tokenizer.encode(text)]).toEqual([text, literal ?? ids]);
      expect(tokenizer.decode(literal ?? ids)).toBe(decoded ?? text);
    });
  });

  it("gives transformers' ids for each string as a user message, its special tokens literal", () => {
    const template = createChatTemplate(source.tokenizer);
    chats.forEach(({ ids, literal }, i) => {
      const text = strings[i] as string;
      const messages = [
        { role: "user", content: text },
        { role: "assistant", content: "ls -la" },
      ] as const;
      const { ids: got, isLabel, departure } = encodeTurn({ tokenizer, template }, messages);
      expect([text, [...got], departure]).toEqual([text, literal ?? ids, null]);
      const learned = got.filter((_, at) => isLabel[at] === 1);
      expect(tokenizer.decode(learned, { special: true })).toBe("ls -la<|im_end|>\n");
    });
  });

  it("knows its special tokens", () => {
    expect(tokenizer).toMatchObject({ vocabSize: 49152, bosId: 1, eosId: 2, padId: 2, addBos: false });
  });
});

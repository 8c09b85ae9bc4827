import { describe, expect, it } from "vitest";
import {
  type EncodedRow,
  encodeRow,
  type LossOn,
  previewExample,
  type TextCodec,
} from "../../src/data/encode.ts";
import type { Row } from "../../src/data/formats/format.ts";
import type { Message } from "../../src/text/messages.ts";
import { CHATML, chatCodec, plainCodec } from "./codecs.ts";

const conversation = (...messages: (readonly [Message["role"], string])[]): Row => ({
  kind: "conversation",
  messages: messages.map(([role, content]) => ({ role, content })),
});
const exchange = conversation(["user", "hi"], ["assistant", "hello you"]);

/** The row as text, labels in brackets. */
function show(row: Row, codec: TextCodec, lossOn: LossOn = "completions"): string {
  const problems: string[] = [];
  const encoded = encodeRow(row, codec, lossOn, (message) => problems.push(message));
  expect(problems).toEqual([]);
  return marked(encoded as EncodedRow, codec);
}

function marked(encoded: EncodedRow, codec: TextCodec): string {
  const segments = previewExample({ ...encoded, index: 0 }, codec.tokenizer);
  return segments.map(({ text, isLabel }) => (isLabel ? `[${text}]` : text)).join("");
}

function problemsOf(row: Row, codec: TextCodec): string[] {
  const problems: string[] = [];
  expect(encodeRow(row, codec, "completions", (message) => problems.push(message))).toBeNull();
  return problems;
}

describe("with a chat template", () => {
  it("learns the completion, its end, and what the template writes after the last answer (as TRL counts)", () => {
    expect(show(exchange, chatCodec())).toBe(
      "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n[hello you<|im_end|>\n]",
    );
  });

  it("learns every assistant turn, and cuts turns after the last", () => {
    const row = conversation(
      ["user", "a"],
      ["assistant", "b"],
      ["user", "c"],
      ["assistant", "d"],
      ["user", "e"],
    );
    expect(show(row, chatCodec())).toBe(
      "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n[b<|im_end|>]\n<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n[d<|im_end|>]",
    );
  });

  it("learns all but the first token if asked to", () => {
    expect(show(exchange, chatCodec(), "all")).toBe(
      "<|im_start|>[user\nhi<|im_end|>\n<|im_start|>assistant\nhello you<|im_end|>\n]",
    );
  });

  it("keeps special tokens in the user's text literal", () => {
    const codec = chatCodec();
    const row = conversation(["user", "<|im_end|>"], ["assistant", "x<|im_end|>y"]);
    const encoded = encodeRow(row, codec, "completions", () => {}) as EncodedRow;
    expect(encoded.ids.filter((id) => id === codec.tokenizer.eosId)).toHaveLength(2);
    expect(encoded.ids.at(-2)).toBe(codec.tokenizer.eosId);
  });

  it("gives the length of the last completion", () => {
    const codec = chatCodec();
    const { tokenizer } = codec;
    const completion = [...tokenizer.encode("hello you"), tokenizer.eosId, ...tokenizer.encode("\n")];
    const encoded = encodeRow(exchange, codec, "all", () => {}) as EncodedRow;
    expect(encoded.completionLength).toBe(completion.length);
    expect([...encoded.ids.slice(-completion.length)]).toEqual(completion);
  });

  it("refuses a template that writes BOS twice", () => {
    const twice = chatCodec(`<|im_start|>${CHATML}`);
    expect(problemsOf(exchange, twice)).toEqual([
      "starts with two BOS tokens (<|im_start|>): the chat template writes its own",
    ]);
  });

  it("refuses a template whose turns end in no token that ends generation", () => {
    const endless = chatCodec("{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}");
    expect(problemsOf(exchange, endless)).toEqual([
      "the end of an assistant turn is not learned: generation stops at <|im_end|>, and no such token is among the labels of the turn, so the model would never learn to stop",
    ]);
    const codec = chatCodec();
    const other = { ...codec, eosIds: [codec.tokenizer.tokenId("<|endoftext|>") as number] };
    expect(problemsOf(exchange, other)[0]).toContain("generation stops at <|endoftext|>");
  });

  it("refuses a turn in the middle without its end", () => {
    const codec = chatCodec(
      "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + ('<|im_end|>' if loop.last else '<|im_start|>') }}{% endfor %}",
    );
    const row = conversation(["user", "a"], ["assistant", "b"], ["user", "c"], ["assistant", "d"]);
    expect(problemsOf(row, codec)[0]).toContain("the end of an assistant turn is not learned");
    expect(show(exchange, codec)).toContain("[hello you<|im_end|>]");
  });

  it("refuses a template that drops the assistant, and passes on what a template refuses", () => {
    expect(problemsOf(exchange, chatCodec("<|im_start|>{{ messages[0].content }}"))).toEqual([
      "has no token to learn: the chat template shows nothing the assistant says",
    ]);
    const strict = chatCodec("{{ raise_exception('only one turn, please') }}");
    expect(problemsOf(exchange, strict)[0]).toContain("only one turn, please");
  });
});

describe("without a chat template", () => {
  it("joins prompt and completion as they stand, with BOS where the model has one, and EOS", () => {
    expect(show(exchange, chatCodec(null))).toBe("hi[hello you<|im_end|>]");
    expect(show(exchange, plainCodec())).toBe("<s> hi[hello you</s>]");
    const system = conversation(["system", "s"], ["user", "u"], ["assistant", "a"]);
    expect(show(system, chatCodec(null))).toBe("s\n\nu[a<|im_end|>]");
  });

  it("learns an answer to nothing", () => {
    expect(show(conversation(["user", ""], ["assistant", "hi"]), plainCodec())).toBe("<s>[ hi</s>]");
  });

  it("refuses several turns, and a tokenizer without EOS", () => {
    const row = conversation(["user", "a"], ["assistant", "b"], ["user", "c"]);
    expect(problemsOf(row, plainCodec())).toEqual([
      "the model has no chat template, so a row must be one prompt and one completion; got user, assistant, user",
    ]);
    const codec = plainCodec();
    const endless = { ...codec, tokenizer: { ...codec.tokenizer, eosId: null } };
    expect(problemsOf(exchange, endless)).toEqual([
      "the tokenizer has no EOS token, so the model could not learn to stop",
    ]);
  });
});

describe("plain text", () => {
  it("is learned whole: every token but the first", () => {
    expect(show({ kind: "text", text: "hi you" }, plainCodec())).toBe("<s>[ hi you</s>]");
    const codec = chatCodec();
    const encoded = encodeRow({ kind: "text", text: "hi you" }, codec, "completions", () => {}) as EncodedRow;
    expect([...encoded.isLabel]).toEqual([0, ...Array(encoded.ids.length - 1).fill(1)]);
    expect(encoded.ids.at(-1)).toBe(codec.tokenizer.eosId);
    expect(encoded.completionLength).toBe(0);
  });
});

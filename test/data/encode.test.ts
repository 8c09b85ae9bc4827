import { describe, expect, it } from "vitest";
import { askedRow } from "../../src/data/asked.ts";
import type { Example } from "../../src/data/batch.ts";
import { encodeRow, previewExample } from "../../src/data/encode.ts";
import { encodeDataset } from "../../src/data/examples.ts";
import type { Row } from "../../src/data/formats/format.ts";
import type { EncodedRow, LossOn, RowSequence, TextCodec } from "../../src/data/sequence.ts";
import { packTrie } from "../../src/data/trie.ts";
import { commonLength } from "../../src/tensor/common-length.ts";
import type { Message } from "../../src/text/messages.ts";
import { ASKING, CHATML, chatCodec, plainCodec } from "./codecs.ts";

const conversation = (...messages: (readonly [Message["role"], string])[]): Row => ({
  kind: "conversation",
  messages: messages.map(([role, content]) => ({ role, content })),
});
const exchange = conversation(["user", "hi"], ["assistant", "hello you"]);

/** Sequences of the row as text, labels in brackets; what is noted goes to `notes`. */
function shownSequences(
  row: Row,
  codec: TextCodec,
  lossOn: LossOn = "completions",
  notes: string[] = [],
): string[] {
  const problems: string[] = [];
  const encoded = encodeRow(row, codec, lossOn, {
    report: (message) => problems.push(message),
    note: (kind, subject = "") => notes.push(`${kind} ${subject}`.trim()),
  });
  expect(problems).toEqual([]);
  return (encoded as EncodedRow).map((sequence) => marked(sequence, codec));
}

/** The same of a row that is one sequence. */
function show(row: Row, codec: TextCodec, lossOn: LossOn = "completions"): string {
  const [only, ...more] = shownSequences(row, codec, lossOn);
  expect(more).toEqual([]);
  return only as string;
}

function marked(sequence: RowSequence, codec: TextCodec): string {
  const segments = previewExample({ ...sequence, index: 0 }, codec.tokenizer);
  return segments.map(({ text, isLabel }) => (isLabel ? `[${text}]` : text)).join("");
}

const SILENT = { report: () => undefined, note: () => undefined };

/** The one sequence of a row. */
const sequenceOf = (row: Row, codec: TextCodec, lossOn: LossOn = "completions"): RowSequence =>
  encodeRow(row, codec, lossOn, SILENT)?.[0] as RowSequence;

function problemsOf(row: Row, codec: TextCodec): string[] {
  const problems: string[] = [];
  const notes = { ...SILENT, report: (message: string) => void problems.push(message) };
  expect(encodeRow(row, codec, "completions", notes)).toBeNull();
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
      "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n[b<|im_end|>\n]<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n[d<|im_end|>\n]",
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
    const encoded = sequenceOf(row, codec);
    expect(encoded.ids.filter((id) => id === codec.tokenizer.eosId)).toHaveLength(2);
    expect(encoded.ids.at(-2)).toBe(codec.tokenizer.eosId);
  });

  it("gives the length of the last completion", () => {
    const codec = chatCodec();
    const { tokenizer } = codec;
    const completion = [...tokenizer.encode("hello you"), tokenizer.eosId, ...tokenizer.encode("\n")];
    const encoded = sequenceOf(exchange, codec, "all");
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
    const endless = chatCodec(
      "{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}",
    );
    expect(problemsOf(exchange, endless)).toEqual([
      "the end of an assistant turn is not learned: generation stops at <|im_end|>, and no such token is among the labels of the turn, so the model would never learn to stop",
    ]);
    const codec = chatCodec();
    const other = { ...codec, eosIds: [codec.tokenizer.tokenId("<|endoftext|>") as number] };
    expect(problemsOf(exchange, other)[0]).toContain("generation stops at <|endoftext|>");
  });

  it("learns a turn in the middle as it is when it is the last, with its end", () => {
    const codec = chatCodec(
      `{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + ('<|im_end|>' if loop.last else '\n') }}{% endfor %}${ASKING}`,
    );
    const row = conversation(["user", "a"], ["assistant", "b"], ["user", "c"], ["assistant", "d"]);
    const notes: string[] = [];
    expect(shownSequences(row, codec, "completions", notes)).toHaveLength(2);
    expect(notes).toContain("rewritten");
  });

  it("refuses a template that drops the assistant, and passes on what a template refuses", () => {
    expect(problemsOf(exchange, chatCodec("<|im_start|>{{ messages[0].content }}"))).toEqual([
      "has no token to learn: the chat template shows nothing the assistant says",
    ]);
    const strict = chatCodec("{{ raise_exception('only one turn, please') }}");
    expect(problemsOf(exchange, strict)[0]).toContain("only one turn, please");
  });
});

describe("what nobody would expect of a row", () => {
  const notesOf = (row: Row, codec: TextCodec): string[] => {
    const notes: string[] = [];
    shownSequences(row, codec, "completions", notes);
    return notes;
  };
  const asConversation = (more: object, ...fields: object[]): Row => ({
    kind: "conversation",
    messages: [
      { role: "user", content: "q", ...fields[0] },
      { role: "assistant", content: "a", ...fields[1] },
    ],
    ...more,
  });

  it("is nothing, mostly", () => {
    expect(notesOf(exchange, chatCodec())).toEqual([]);
  });

  it("is a field that the template does not read, and tools", () => {
    const codec = chatCodec(
      `{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + (m.thinking or '') + m.content + '<|im_end|>\n' }}{% endfor %}${ASKING}`,
    );
    const row = asConversation(
      { tools: [{ name: "f" }] },
      { name: "n", thinking: null },
      { thinking: "t", reasoning_content: "r" },
    );
    expect(notesOf(row, codec)).toEqual([
      'field "name" of the user',
      'field "reasoning_content" of the assistant',
      'field "tools"',
    ]);
    expect(show(row, codec)).toContain("[ta<|im_end|>");
    // Under another name the template finds the same thoughts.
    const renamed = asConversation({}, {}, { reasoning: "t" });
    expect(notesOf(renamed, codec)).toEqual([]);
    expect(show(renamed, codec)).toContain("[ta<|im_end|>");
  });

  it("is text that the template leaves out", () => {
    const codec = chatCodec(
      `{% for m in messages if m.role != 'system' %}{{ '<|im_start|>' + m.role + '\n' + m.content.split('|')[-1] + '<|im_end|>\n' }}{% endfor %}${ASKING}`,
    );
    const row = conversation(["system", "s"], ["user", "q"], ["assistant", "lost|kept"]);
    expect(notesOf(row, codec)).toEqual(["hidden the assistant", "hidden the system"]);
  });

  it("is a special token in a content, taken literally", () => {
    expect(notesOf(conversation(["user", "<|im_end|>"], ["assistant", "a"]), chatCodec())).toEqual([
      "literal <|im_end|>",
    ]);
  });

  it("is a turn that is only read, and a row of which nothing is learned", () => {
    const row: Row = {
      ...conversation(["user", "a"], ["assistant", "b"], ["user", "c"], ["assistant", "d"]),
      unlearned: [1],
    } as Row;
    expect(notesOf(row, chatCodec())).toEqual(["excluded"]);
    expect(show(row, chatCodec())).toMatch(/assistant\nb<\|im_end\|>.*\[d<\|im_end\|>\n\]$/s);
    expect(problemsOf({ ...row, unlearned: [1, 3] } as Row, chatCodec())).toEqual([
      "every assistant turn is only read: there is nothing to learn from it",
    ]);
    const strict = chatCodec(
      `{% if messages[0].role == 'assistant' %}{% set x = messages[0].content %}{% endif %}{{ raise_exception('nothing to answer') if not messages }}${CHATML}`,
    );
    expect(notesOf(conversation(["assistant", "hello"], ["user", "a"], ["assistant", "b"]), strict)).toEqual([
      "opening",
    ]);
  });

  it("is a prompt that holds chat markup: it is taken as it stands", () => {
    const prompt = "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n";
    const plain = { ...conversation(["user", prompt], ["assistant", "yes<|im_end|>"]), isPlain: true } as Row;
    expect(notesOf(plain, chatCodec())).toEqual(["markup <|im_start|>"]);
    expect(show(plain, chatCodec())).toBe(`${prompt}[yes<|im_end|>]`);
    const { ids, isLabel } = sequenceOf(plain, chatCodec());
    expect(askedRow(plain, chatCodec())?.ids).toEqual(Array.from(ids).slice(0, isLabel.indexOf(1)));
    expect(show(conversation(["user", prompt], ["assistant", "yes"]), chatCodec())).toContain(
      "<|im_start|>user\n<|im_start|>user",
    );
  });
});

describe("thoughts that are taken out of earlier turns", () => {
  const codec = chatCodec(
    `{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + (m.content if loop.last else m.content.split('</think>')[-1]) + '<|im_end|>\n' }}{% endfor %}${ASKING}`,
  );
  const row = conversation(
    ["user", "a"],
    ["assistant", "<think>b</think>c"],
    ["user", "d"],
    ["assistant", "<think>e</think>f"],
  );

  it("are learned where the turn is the last, and not there where it is history", () => {
    expect(shownSequences(row, codec)).toEqual([
      "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n[<think>b</think>c<|im_end|>\n]",
      "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nc<|im_end|>\n<|im_start|>user\nd<|im_end|>\n<|im_start|>assistant\n[<think>e</think>f<|im_end|>\n]",
    ]);
  });

  it("make one example of two sequences, which share what they begin with", async () => {
    const rows = [{ row, where: { file: "a.jsonl", line: 1, unit: "line" as const } }];
    const { examples, report, lengths } = await encodeDataset(rows, codec, { maxLength: 300 });
    expect([report.examples, report.sequences]).toEqual([1, 2]);
    const [example] = examples;
    const [branch] = example?.branches ?? [];
    const common = commonLength(branch?.ids ?? [], example?.ids ?? []);
    const nodes = (branch?.ids.length ?? 0) + (example?.ids.length ?? 0) - common;
    expect(common).toBeGreaterThan(10);
    expect([...lengths]).toEqual([[nodes, 1]]);
    // Two last labels need no node.
    expect(packTrie([example as Example]).trieTokens).toBe(nodes - 2);
    expect(packTrie([example as Example]).labelCount).toBe(report.labelTokens);
  });

  it("are cut at one place where the row is too long", async () => {
    const rows = [{ row, where: { file: "a.jsonl", line: 1, unit: "line" as const } }];
    const whole = await encodeDataset(rows, codec, { maxLength: 300 });
    const { longest, labelTokens } = whole.report;
    const cut = await encodeDataset(rows, codec, { maxLength: longest - 5 });
    expect(cut.report).toMatchObject({ sequences: 2, truncated: 1, truncatedLabels: 0, labelTokens });
    const short = await encodeDataset(rows, codec, { maxLength: 24 });
    expect(short.report.sequences).toBe(1);
    expect(short.report.truncatedLabels + short.report.labelTokens).toBe(labelTokens);
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
  it("has special tokens where they stand, one BOS and one EOS", () => {
    const text = "<|im_start|>user\nhi<|im_end|>\n";
    const codec = chatCodec();
    const withBos = { ...codec, tokenizer: { ...codec.tokenizer, addBos: true } };
    for (const one of [codec, withBos])
      expect(show({ kind: "text", text }, one)).toBe("<|im_start|>[user\nhi<|im_end|>\n]");
    expect(show({ kind: "text", text: "hi" }, withBos)).toBe("<|im_start|>[hi<|im_end|>]");
  });

  it("shows a special token that is spelt out token by token", () => {
    const { tokenizer } = chatCodec();
    const ids = Int32Array.from([...tokenizer.encode("a<|im_end|>"), tokenizer.eosId as number]);
    const [segment] = previewExample({ ids, isLabel: new Uint8Array(ids.length), index: 0 }, tokenizer);
    expect(segment?.text).toBe("a<|im_end|><|im_end|>");
    expect(segment?.cuts?.length).toBeGreaterThan(2);
    expect(segment?.cuts?.every((at) => at > 1 && at < 11)).toBe(true);
  });

  it("is learned whole: every token but the first", () => {
    expect(show({ kind: "text", text: "hi you" }, plainCodec())).toBe("<s>[ hi you</s>]");
    const codec = chatCodec();
    const encoded = sequenceOf({ kind: "text", text: "hi you" }, codec);
    expect([...encoded.isLabel]).toEqual([0, ...Array(encoded.ids.length - 1).fill(1)]);
    expect(encoded.ids.at(-1)).toBe(codec.tokenizer.eosId);
    expect(encoded.completionLength).toBe(0);
  });
});

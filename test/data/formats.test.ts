import { describe, expect, it } from "vitest";
import type {
  Conversation,
  DataFormat,
  DataRecord,
  FieldMapping,
  Row,
} from "../../src/data/formats/format.ts";
import { dataFormats, describeUndetected, detectFormat, findFormat } from "../../src/data/formats/table.ts";
import { ExactNumber } from "../../src/text/exact-number.ts";
import { contentText } from "../../src/text/messages.ts";

interface Parsed {
  readonly row: Row | null;
  readonly problems: readonly string[];
}

function parse(format: string, record: DataRecord, mapping: FieldMapping = {}): Parsed {
  const problems: string[] = [];
  const row = findFormat(format).parse(record, mapping, (message) => problems.push(message));
  return { row, problems };
}

/** "role: content" of each turn, for records that have nothing wrong. */
function turns(format: string, record: DataRecord, mapping?: FieldMapping): string[] {
  const { row, problems } = parse(format, record, mapping);
  expect(problems).toEqual([]);
  return row?.kind === "conversation" ? row.messages.map((m) => `${m.role}: ${contentText(m)}`) : [];
}

function problems(format: string, record: DataRecord, mapping?: FieldMapping): readonly string[] {
  const parsed = parse(format, record, mapping);
  expect(parsed.row).toBeNull();
  return parsed.problems;
}

const SAMPLES: Readonly<Record<string, DataRecord>> = {
  "prompt-completion": { prompt: "p", completion: "c" },
  messages: {
    messages: [
      { role: "user", content: "p" },
      { role: "assistant", content: "c" },
    ],
  },
  alpaca: { instruction: "i", input: "", output: "o" },
  sharegpt: {
    conversations: [
      { from: "human", value: "p" },
      { from: "gpt", value: "c" },
    ],
  },
  classification: { text: "t", label: 0 },
  text: { text: "t" },
};

describe("the table of formats", () => {
  it("detects each format by its sample, and has a sample for each", () => {
    expect(dataFormats.map((format) => format.name).sort()).toEqual(Object.keys(SAMPLES).sort());
    for (const [name, record] of Object.entries(SAMPLES)) {
      expect(detectFormat(record, {})?.name).toBe(name);
      expect(parse(name, record).problems).toEqual([]);
    }
  });

  it("lets the mapping decide", () => {
    const name = (record: DataRecord, mapping: FieldMapping): string | undefined =>
      (detectFormat(record, mapping) as DataFormat | null)?.name;
    const record = { question: "q", answer: "a", text: "t" };
    expect(name(record, { promptField: "question", completionField: "answer" })).toBe("prompt-completion");
    expect(name(record, { promptTemplate: "{{question}}", completionField: "answer" })).toBe(
      "prompt-completion",
    );
    expect(name({ prompt: "p", command: "c" }, { completionField: "command" })).toBe("prompt-completion");
    expect(name({ instruction: "i", output: "o", text: "t" }, { textField: "text" })).toBe("text");
    expect(name({ chat: [{ role: "user", content: "" }] }, { messagesField: "chat" })).toBe("messages");
    expect(name({ question: "q", answer: "a" }, {})).toBeUndefined();
    expect(name({ text: "t", label: "good" }, { textField: "text" })).toBe("classification");
    expect(name({ text: "t", stars: 5 }, { labelField: "stars" })).toBe("classification");
    expect(name({ text: "t", label: null }, {})).toBe("text");
  });

  it("says what there is when nothing fits", () => {
    expect(describeUndetected({ question: "q", answer: "a" })).toMatch(
      /^cannot tell the data format: the record has "question", "answer"\. Name the fields \(promptField and completionField\), or give one of the formats: messages \(/,
    );
    expect(() => findFormat("chatml")).toThrow(
      `Unknown data format\n  format: "chatml"; known: ${dataFormats.map((format) => format.name).join(", ")}`,
    );
  });
});

describe("classification", () => {
  const labelled = (record: DataRecord, mapping: FieldMapping = {}): unknown => {
    const { row, problems } = parse("classification", record, mapping);
    expect(problems).toEqual([]);
    return row?.kind === "labelled" ? [row.text, row.pair, row.label] : row;
  };

  it("takes a text or a pair under their usual names, or by mapping", () => {
    expect(labelled({ text: "t", label: "good" })).toEqual(["t", null, "good"]);
    expect(labelled({ sentence: "s", label: 1, idx: 7 })).toEqual(["s", null, 1]);
    expect(labelled({ sentence1: "a", sentence2: "b", label: 3.8 })).toEqual(["a", "b", 3.8]);
    expect(labelled({ premise: "a", hypothesis: "", label: true })).toEqual(["a", "", "true"]);
    const mapping = { textField: "review", pairField: "reply", labelField: "stars" };
    expect(labelled({ review: "r", reply: "y", stars: 5, label: 1 }, mapping)).toEqual(["r", "y", 5]);
    expect(labelled({ text: "t", text_pair: "p", label: 0 }, { textField: "text" })).toEqual(["t", null, 0]);
  });

  it("reports everything wrong at once", () => {
    expect(problems("classification", { body: "b", label: null })).toEqual([
      'no field "text"; the record has "body", "label"',
      'field "label": expected a label (a name or a number), got null',
    ]);
    expect(problems("classification", { text: ["t"] }, { pairField: "p" })).toEqual([
      'field "text": expected text, got an array',
      'no field "p"; the record has "text"',
      'no field "label"; the record has "text"',
    ]);
    expect(problems("classification", { text: "t", label: "" })).toEqual([
      'field "label": expected a label (a name or a number), got an empty text',
    ]);
  });
});

describe("prompt-completion", () => {
  it("takes fields by name or mapping, a system message, and a template", () => {
    expect(turns("prompt-completion", { prompt: "p", completion: " c\n" })).toEqual([
      "user: p",
      "assistant:  c\n",
    ]);
    const record = { q: "why", a: 42, s: "be brief", lang: "German" };
    const mapping = { promptField: "q", completionField: "a", systemField: "s" };
    expect(turns("prompt-completion", record, mapping)).toEqual([
      "system: be brief",
      "user: why",
      "assistant: 42",
    ]);
    expect(
      turns("prompt-completion", record, { ...mapping, promptTemplate: "{{ q }} in {{lang}}? {x} {{q}}" })[1],
    ).toBe("user: why in German? {x} why");
  });

  it("takes an empty prompt and a missing system message", () => {
    const mapping = { systemField: "s" };
    expect(turns("prompt-completion", { prompt: "", completion: "c" }, mapping)).toEqual([
      "user: ",
      "assistant: c",
    ]);
    expect(turns("prompt-completion", { prompt: "p", completion: "c", s: null }, mapping)).toHaveLength(2);
  });

  it("does not take a template's own text from fields twice", () => {
    const record = { prompt: "{{completion}} $& $1", completion: "secret" };
    expect(turns("prompt-completion", record, { promptTemplate: "<{{prompt}}>" })[0]).toBe(
      "user: <{{completion}} $& $1>",
    );
  });

  it("reports everything wrong at once", () => {
    expect(problems("prompt-completion", { question: "q", completion: " \n" })).toEqual([
      'no field "prompt"; the record has "question", "completion"',
      'field "completion" is empty: there is nothing to learn from it',
    ]);
    expect(problems("prompt-completion", { prompt: ["p"], completion: null })).toEqual([
      "prompt[0]: expected an object, got a string",
      'field "completion" is empty: there is nothing to learn from it',
    ]);
    expect(
      problems("prompt-completion", { a: 1, completion: "c" }, { promptTemplate: "{{b}} {{constructor}}" }),
    ).toEqual([
      'prompt template: no field "b"; the record has "a", "completion"',
      'prompt template: no field "constructor"; the record has "a", "completion"',
    ]);
  });
});

describe("alpaca", () => {
  it("joins instruction and input by a blank line, without Alpaca's preamble", () => {
    const record = { instruction: "Add", input: "1 2", output: "3" };
    expect(turns("alpaca", record)).toEqual(["user: Add\n\n1 2", "assistant: 3"]);
    expect(turns("alpaca", { instruction: "Sing", output: "la" })).toEqual(["user: Sing", "assistant: la"]);
  });

  it("reports missing and empty fields", () => {
    expect(problems("alpaca", { input: 1, output: "" })).toEqual([
      'no field "instruction"; the record has "input", "output"',
      'field "output" is empty: there is nothing to learn from it',
    ]);
  });
});

describe("messages", () => {
  const user = { role: "user", content: "hi" };
  const assistant = { role: "assistant", content: "hello" };

  it("takes several turns of all roles, in any order", () => {
    const messages = [
      { role: "system", content: "s" },
      user,
      user,
      assistant,
      { role: "tool", content: "1" },
      assistant,
    ];
    expect(turns("messages", { messages })).toEqual([
      "system: s",
      "user: hi",
      "user: hi",
      "assistant: hello",
      "tool: 1",
      "assistant: hello",
    ]);
  });

  it("takes text in parts, and the list under other names", () => {
    const parts = {
      role: "user",
      content: [
        { type: "text", text: "a" },
        { type: "text", text: "b" },
      ],
    };
    expect(turns("messages", { conversation: [parts, assistant] })[0]).toBe("user: ab");
    expect(turns("messages", { chat: [user, assistant] }, { messagesField: "chat" })).toHaveLength(2);
  });

  it("reports every faulty turn", () => {
    const messages = [
      { role: "bot", content: "x" },
      { content: "x" },
      "x",
      { role: "user" },
      { role: "assistant", content: " " },
      { role: "assistant", content: null, tool_calls: [{}] },
      { role: "user", content: [{ type: "image_url" }] },
      { role: "user", content: 5 },
    ];
    expect(problems("messages", { messages })).toEqual([
      'messages[0]: unknown "role" "bot"; known: system, user, assistant, tool, developer, function, ipython',
      'messages[1]: no "role"; the turn has "content"',
      "messages[2]: expected an object, got a string",
      'messages[3]: no "content"; the turn has "role"',
      "messages[4]: the assistant's turn is empty: there is nothing to learn from it",
      'messages[6]: "content": only parts of type "text" can be trained on',
      'messages[7]: "content": expected text, got a number',
    ]);
  });

  it("reports a conversation in which nobody answers, and what is no list", () => {
    const nobody = '"messages" has no assistant turn: there is nothing to learn from it';
    expect(problems("messages", { messages: [user] })).toEqual([nobody]);
    expect(problems("messages", { messages: [] })).toEqual([nobody]);
    expect(problems("messages", { messages: "hi" })).toEqual([
      'field "messages": expected a list of turns, got a string',
    ]);
    expect(problems("messages", { a: 1 })).toEqual(['no field "messages"; the record has "a"']);
  });
});

describe("rows of conversations", () => {
  const row = (format: string, record: DataRecord, mapping?: FieldMapping): Conversation => {
    const parsed = parse(format, record, mapping);
    expect(parsed.problems).toEqual([]);
    return parsed.row as Conversation;
  };
  const user = { role: "user", content: "p" };
  const assistant = { role: "assistant", content: "c" };

  it("hand every field of a message on, and what stands beside the list", () => {
    const calls = [{ type: "function", function: { name: "f", arguments: { a: 1 } } }];
    const messages = [
      user,
      { role: "assistant", content: null, tool_calls: calls, reasoning_content: "r", name: "n" },
    ];
    const tools = [{ type: "function", function: { name: "f" } }];
    const args = { enable_thinking: false };
    const parsed = row("messages", { messages, tools, chat_template_kwargs: args, system: "s" });
    expect(parsed).toEqual({
      kind: "conversation",
      messages: [{ role: "system", content: "s" }, ...messages],
      tools,
      templateArgs: args,
    });
    const asText = { messages, tools: JSON.stringify(tools), chat_template_kwargs: JSON.stringify(args) };
    expect(row("messages", asText)).toMatchObject({ tools, templateArgs: args });
    expect(problems("messages", { messages, tools: "[", functions: [1] })).toEqual([
      'field "tools": expected a list, got "["',
      'field "functions" is not used: descriptions of tools are read from "tools"',
    ]);
  });

  it.each([{ weight: 0 }, { train: false }, { training: false }, { loss: false }])(
    "leave out a turn with %o",
    (mark) => {
      const messages = [user, { ...assistant, ...mark }, user, { ...assistant, weight: 1, train: true }];
      expect(row("messages", { messages }).unlearned).toEqual([1]);
      const conversations = [
        { from: "human", value: "p" },
        { from: "gpt", value: "c", ...mark },
        { from: "human", value: "p", ...mark },
        { from: "gpt", value: "d" },
      ];
      expect(row("sharegpt", { conversations, system: "s" }).unlearned).toEqual([2]);
    },
  );

  it("refuse marks that say nothing clear", () => {
    const messages = [
      { ...user, train: true },
      { ...assistant, weight: 0.5 },
      { ...assistant, loss: "no" },
    ];
    expect(problems("messages", { messages })).toEqual([
      'messages[0]: "train": a turn of the user cannot be learned, only those of the assistant',
      'messages[1]: "weight": expected 0 or 1, got 0.5',
      'messages[2]: "loss": expected true or false, got "no"',
    ]);
  });

  it("of a prompt and a completion that are lists learn the completion alone", () => {
    const prompt = [user, assistant, user];
    const parsed = row("prompt-completion", {
      prompt,
      completion: [assistant, user, assistant],
      system: "s",
    });
    expect(parsed.messages.map((m) => m.role)).toEqual([
      "system",
      "user",
      "assistant",
      "user",
      "assistant",
      "user",
      "assistant",
    ]);
    expect(parsed.unlearned).toEqual([2]);
    expect(row("prompt-completion", { prompt, completion: "c" }).unlearned).toEqual([1]);
    expect(row("prompt-completion", { prompt: "p", completion: [assistant] }).unlearned).toBeUndefined();
  });

  it("have history and system message of alpaca's relatives", () => {
    const record = {
      instruction: "i",
      output: "o",
      system: "s",
      history: [
        ["a", "b"],
        ["c", "d"],
      ],
    };
    expect(turns("alpaca", record)).toEqual([
      ...["system: s", "user: a", "assistant: b", "user: c", "assistant: d", "user: i", "assistant: o"],
    ]);
    expect(problems("alpaca", { ...record, history: [["a"]] })).toEqual([
      "history[0]: expected a question and an answer, got an array",
    ]);
    expect(turns("prompt-completion", { prompt: "p", completion: "c", system: "s" })[0]).toBe("system: s");
  });

  it("are no rows of preferences", () => {
    const pair = { prompt: "p", completion: "c" };
    expect(problems("prompt-completion", { ...pair, label: false })[0]).toMatch(
      /^has "label": false: training on preferences/,
    );
    expect(problems("messages", { messages: [user, assistant], kto_tag: true })[0]).toMatch(/^has "kto_tag"/);
    expect(problems("prompt-completion", { ...pair, chosen: "c", rejected: "d" })[0]).toMatch(
      /^has "chosen" and "rejected"/,
    );
    expect(describeUndetected({ prompt: "p", chosen: "c", rejected: "d" })).toMatch(
      /^has "chosen" and "rejected"/,
    );
    const mapping = { promptField: "prompt", completionField: "chosen" };
    expect(turns("prompt-completion", { prompt: "p", chosen: "c", rejected: "d" }, mapping)).toHaveLength(2);
    expect(turns("prompt-completion", { ...pair, label: true })).toHaveLength(2);
  });
});

describe("sharegpt", () => {
  it("translates roles, and takes a system message beside the list", () => {
    const conversations = [
      { from: "human", value: "p" },
      { from: "gpt", value: "c" },
    ];
    expect(turns("sharegpt", { conversations, system: "s" })).toEqual([
      "system: s",
      "user: p",
      "assistant: c",
    ]);
  });

  it("reports unknown roles", () => {
    expect(problems("sharegpt", { conversations: [{ from: "alien", value: "p" }] })).toEqual([
      'conversations[0]: unknown "from" "alien"; known: system, human, user, gpt, assistant, chatgpt, tool, observation',
    ]);
  });
});

describe("text", () => {
  it("takes text as it is, and refuses none", () => {
    expect(parse("text", { text: " a\n" }).row).toEqual({ kind: "text", text: " a\n" });
    expect(parse("text", { body: "b" }, { textField: "body" }).row).toEqual({ kind: "text", text: "b" });
    expect(problems("text", { text: " " })).toEqual([
      'field "text" is empty: there is nothing to learn from it',
    ]);
  });
});

it("keeps the order of a message's fields, and thoughts without a content", () => {
  const messages = [
    { name: "bob", role: "user", content: "q" },
    { role: "assistant", content: null, reasoning: "r" },
  ];
  const parsed = parse("messages", { messages });
  expect(parsed.problems).toEqual([]);
  expect(JSON.stringify((parsed.row as Conversation).messages)).toBe(JSON.stringify(messages));
});

it("an infinite label is malformed, not a class", () => {
  expect(problems("classification", { text: "t", label: new ExactNumber("inf") })).toEqual([
    'field "label": expected a label (a name or a number), got inf',
  ]);
});

import { once } from "node:events";
import { createWriteStream, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { textField } from "../../src/data/formats/fields.ts";
import { formatWhere } from "../../src/data/place.ts";
import { problemList } from "../../src/data/problems.ts";
import { converted, schemaTree } from "../../src/data/readers/parquet-values.ts";
import { readRecords } from "../../src/data/records.ts";
import { pathStorage } from "../../src/io/storage/disk-storage.ts";
import { ExactNumber } from "../../src/text/exact-number.ts";
import { readContent, readPath, temporaryFolder, writeFiles } from "./files.ts";

const fixture = (name: string): string => fileURLToPath(new URL(`../fixtures/data/${name}`, import.meta.url));
const bytes = (...parts: (string | number[])[]): Buffer =>
  Buffer.concat(parts.map((part) => (typeof part === "string" ? Buffer.from(part) : Buffer.from(part))));

describe("JSON Lines", () => {
  it("gives objects with their lines; blank lines, CRLF and a byte-order mark do not matter", async () => {
    const read = await readContent("a.jsonl", '\ufeff{"a":1}\r\n\r\n  \n{"a":"zwei ✓"}\r\n{"a":3}');
    expect(read).toEqual({
      records: [
        [1, { a: 1 }],
        [4, { a: "zwei ✓" }],
        [5, { a: 3 }],
      ],
      problems: [],
      count: 0,
      notes: [],
    });
  });

  it("keeps a byte-order mark that is not at the start of the file", async () => {
    const read = await readContent("a.txt", "\ufeffone\n\ufefftwo\n", { textUnit: "line" });
    expect(read.records[1]).toEqual([2, { text: "\ufefftwo" }]);
    expect((await readContent("a.ndjson", '{"a":1}\n{"a":"\ufeffb"}\n')).records[1]).toEqual([
      2,
      { a: "\ufeffb" },
    ]);
  });

  it("reports bad JSON and values that are no objects, and reads on", async () => {
    const read = await readContent("a.jsonl", '{"a":1}\n{"a":\n[1]\nnull\n"x"\n{"a":2}\n');
    expect(read.records).toEqual([
      [1, { a: 1 }],
      [6, { a: 2 }],
    ]);
    expect(read.problems).toEqual([
      "a.jsonl:2: not valid JSON: Unexpected end of JSON input",
      "a.jsonl:3: expected a JSON object, got an array",
      "a.jsonl:4: expected a JSON object, got null",
      "a.jsonl:5: expected a JSON object, got a string",
    ]);
  });

  it("reports invalid UTF-8 by line and byte", async () => {
    const read = await readContent(
      "a.jsonl",
      bytes('{"a":1}\n{"a":"', [0xc3, 0x28], '"}\n{"a":"', [0xe2, 0x82]),
    );
    expect(read.problems).toEqual([
      "a.jsonl:2: not valid UTF-8: byte 8 (0x28)",
      "a.jsonl:3: not valid UTF-8: byte 9 (end of text)",
    ]);
    expect(read.records).toEqual([[1, { a: 1 }]]);
  });

  it.each([
    ["little", "utf16le", [0xff, 0xfe]],
    ["big", "utf16be", [0xfe, 0xff]],
  ] as const)("reads UTF-16 with its mark, %s end first", async (_, order, mark) => {
    const text = Buffer.from('{"a":"zwei ✓"}\r\n{"a":"drei \u{1f680}"}\n', "utf16le");
    const content = Buffer.concat([Buffer.from(mark), order === "utf16be" ? text.swap16() : text]);
    expect((await readContent("a.jsonl", content)).records).toEqual([
      [1, { a: "zwei ✓" }],
      [2, { a: "drei \u{1f680}" }],
    ]);
  });

  it("keeps the digits of numbers", async () => {
    const digits = [
      "12345678901234567890",
      "1610521604143693812",
      "0.1234567890123456789012",
      "5.0",
      "1e400",
      "-0",
      "1.10",
    ];
    const content = digits.map((number) => `{"a":${number},"b":["${number}",{"c":${number}}]}\n`).join("");
    const { records, problems } = await readContent("a.jsonl", content);
    expect(problems).toEqual([]);
    expect(records.map(([, record]) => String(record.a))).toEqual(digits);
    for (const [, record] of records)
      expect(String((record.b as { c: unknown }[])[1]?.c)).toBe((record.b as string[])[0]);
    expect((await readContent("a.jsonl", '{"a":[1,-2,0.5,12.25]}')).records).toEqual([
      [1, { a: [1, -2, 0.5, 12.25] }],
    ]);
  });

  it("refuses half a surrogate pair, keeps whole ones, and notes keys that stand twice", async () => {
    const read = await readContent(
      "a.jsonl",
      '{"a":"\\ud83d\\ude80"}\n{"a":["\\uD83D"]}\n{"a":1,"b":{"a":2},"\\u0061":3}\n',
    );
    expect(read.problems).toEqual([
      "a.jsonl:2: not valid JSON: a string holds half a surrogate pair (\\ud83d), which is no character",
    ]);
    expect(read.records).toEqual([
      [1, { a: "\u{1f680}" }],
      [3, { a: 3, b: { a: 2 } }],
    ]);
    expect(read.notes).toEqual(['the key "a" stands twice in 1 row: the last one counts (first: a.jsonl:3)']);
  });

  it("gives a file up that is not what its name says", async () => {
    const { problems, count } = await readContent("a.jsonl", "[]\n".repeat(5000));
    expect(count).toBe(1001);
    expect(problems[0]).toBe("a.jsonl:1: expected a JSON object, got an array");
  });

  it("reports a file without records", async () => {
    for (const content of ["", "\n\r\n  \n", "\ufeff"])
      expect((await readContent("a.jsonl", content)).problems).toEqual(["a.jsonl: holds no records"]);
  });

  it("keeps the first ten problems and counts all", async () => {
    const read = await readContent("a.jsonl", "x\n".repeat(25));
    expect(read.problems).toHaveLength(10);
    expect(read.count).toBe(25);
  });

  it("refuses a line over the limit, whose bytes it does not keep, and reads on", async () => {
    const long = `{"a":"${"x".repeat(3_000_000)}"}`;
    const read = await readContent("a.jsonl", `{"a":1}\n${long}\n{"a":2}\n${long}`, {
      maxLineBytes: 2_000_000,
    });
    expect(read.records).toEqual([
      [1, { a: 1 }],
      [3, { a: 2 }],
    ]);
    expect(read.problems).toEqual([
      "a.jsonl:2: the line is 3,000,008 bytes long; the limit is 2,000,000",
      "a.jsonl:4: the line is 3,000,008 bytes long; the limit is 2,000,000",
    ]);
  });

  it("refuses a line of 100 MB by default", async () => {
    const path = join(temporaryFolder(), "a.jsonl");
    const out = createWriteStream(path);
    const block = Buffer.alloc(10_000_000, "x");
    for (let i = 0; i < 10; i++) if (!out.write(block)) await once(out, "drain");
    out.end('\n{"a":1}\n');
    await once(out, "close");
    const read = await readPath(path);
    expect(read.problems).toEqual(["a.jsonl:1: the line is 100,000,000 bytes long; the limit is 67,108,864"]);
    expect(read.records).toEqual([[2, { a: 1 }]]);
  }, 20_000);
});

describe("what one object is", () => {
  const shown = async (content: string) => {
    const { records, problems } = await readContent("a.json", content);
    return { rows: records.map(([, record]) => record), problems };
  };

  it("a container holds a list of objects under data, and nothing stands behind it", async () => {
    expect(await shown('{"version": 1, "data": [{"a": 1}, {"a": 2}], "more": {}}\n')).toEqual({
      rows: [{ a: 1 }, { a: 2 }],
      problems: [],
    });
    const cut = (await shown('{"data": [{"a": 1}]')).problems;
    expect(cut).toEqual(["a.json:1: not valid JSON: the object does not end"]);
    const behind = (await shown('{"data": [{"a": 1}], "b": 2} garbage')).problems;
    expect(behind).toEqual(["a.json:1: not valid JSON: text behind the object"]);
  });

  it("a record may have a field data", async () => {
    const lists = '{"prompt": "p", "completion": "c", "data": [1, 2]}';
    expect(await shown(lists)).toEqual({
      rows: [{ prompt: "p", completion: "c", data: [1, 2] }],
      problems: [],
    });
    const lines = '{"prompt": "a", "data": []}\n{"prompt": "b", "data": [{"x": 1}]}\n';
    expect((await shown(lines)).rows).toEqual([
      { prompt: "a", data: [] },
      { prompt: "b", data: [{ x: 1 }] },
    ]);
    const containers = '{"data": [{"a": 1}]}\n{"data": [{"a": 2}]}\n';
    expect((await shown(containers)).rows).toEqual([{ data: [{ a: 1 }] }, { data: [{ a: 2 }] }]);
  });

  it("objects may stand on one line, the first may be one, and a byte-order mark does not matter", async () => {
    const rows = [{ a: 1 }, { a: 2 }];
    for (const content of ['{"a": 1} {"a": 2}', '{"a": 1}\n{\n"a": 2\n}\n', '{\n"a": 1\n}{"a": 2}'])
      for (const mark of ["", "\ufeff"])
        expect(await shown(`${mark}${content}`), content).toEqual({ rows, problems: [] });
  });

  it("lines stay lines where one of them is broken", async () => {
    const { rows, problems } = await shown('{"a": 1}\n{"a": "open}\nnonsense\n{"a": 2}\n');
    expect(rows).toEqual([{ a: 1 }, { a: 2 }]);
    expect(problems.map((p) => p.split(": ").slice(0, 2).join(": "))).toEqual([
      "a.json:2: not valid JSON",
      "a.json:3: not valid JSON",
    ]);
  });
});

describe("JSON", () => {
  it("may be objects one after another, over several lines each", async () => {
    const read = await readContent("a.json", '{\n "a": "}{"\n}\n{"a": {"b": [1]}}{\n"a": 3}\n');
    expect(read).toMatchObject({
      records: [
        [1, { a: "}{" }],
        [4, { a: { b: [1] } }],
        [4, { a: 3 }],
      ],
      problems: [],
    });
    const broken = await readContent("a.json", '{\n"a": 1\n}\n{"a": x}\n,{"a": 2}\n{"a": 3}');
    expect(broken.problems).toEqual([
      expect.stringContaining("a.json:4: not valid JSON"),
      "a.json:5: not valid JSON: text between objects, of which each is a record",
    ]);
    const open = await readContent("a.json", '{\n"a": 1\n}\n{"a": 2');
    expect(open.problems).toEqual(["a.json:4: not valid JSON: the object does not end"]);
  });

  it("gives the objects of an array with their lines", async () => {
    const read = await readContent(
      "a.json",
      '[\n  {"a": "[,{"},\n  {"a": [1, {"b": "\\""}]}, {"a": {}}\n\n, {"a": 4}\n]',
    );
    expect(read).toEqual({
      records: [
        [2, { a: "[,{" }],
        [3, { a: [1, { b: '"' }] }],
        [3, { a: {} }],
        [5, { a: 4 }],
      ],
      problems: [],
      count: 0,
      notes: [],
    });
  });

  it("gives the objects under data", async () => {
    const read = await readContent(
      "a.json",
      '\ufeff{"kind": "data", "other": [[1],\n2], "data": [\n{"a": 1},\n{"a": 2}]}',
    );
    expect(read.records).toEqual([
      [3, { a: 1 }],
      [4, { a: 2 }],
    ]);
  });

  it("reads JSON Lines under the wrong extension", async () => {
    expect((await readContent("a.json", '{"a":1}\n{"a":2}\n')).records).toEqual([
      [1, { a: 1 }],
      [2, { a: 2 }],
    ]);
  });

  it("reports what is wrong with its place", async () => {
    const of = async (content: string | Uint8Array): Promise<readonly string[]> =>
      (await readContent("a.json", content)).problems;
    expect(await of('[{"a":1},\n5,\n{"a":2},\n"x"]')).toEqual([
      "a.json:2: expected a JSON object, got a number",
      "a.json:4: expected a JSON object, got a string",
    ]);
    expect((await of('[\n{"a":1},\n{"a":}]'))[0]).toMatch(/^a\.json:3: not valid JSON: /);
    expect(await of('"rows"')).toEqual([
      'a.json: expected an array of objects, or an object with an array "data"',
    ]);
    expect(await of('[{"a":1},\n{"a":2}')).toEqual(["a.json:2: not valid JSON: the array does not end"]);
    expect(await of('[{"a":1}]\n[2]')).toEqual(["a.json:2: not valid JSON: text behind the array"]);
    expect(await of('{"a":1}\n[2]')).toEqual(["a.json:2: expected a JSON object, got an array"]);
    expect((await of('[{"a":1},]'))[0]).toMatch(/^a\.json:1: not valid JSON: Unexpected end/);
    expect(await of(bytes("[\n", [0xff], "]"))).toEqual(["a.json:2: not valid UTF-8: byte 2 (0xff)"]);
    expect(await of("[]")).toEqual(["a.json: holds no records"]);
    expect(await of("")).toEqual(["a.json: holds no records"]);
  });
});

describe("one conversation in a .json file", () => {
  it("is one record, as an object or as a list of turns", async () => {
    const turns = [
      { role: "user", content: "hi" },
      { role: "assistant", content: "hello" },
    ];
    const object = `\ufeff\n${JSON.stringify({ messages: turns }, null, 2)}\n`;
    expect((await readContent("a.json", object)).records).toEqual([[2, { messages: turns }]]);
    expect((await readContent("a.json", JSON.stringify(turns, null, 2))).records).toEqual([
      [2, { messages: turns }],
    ]);
    const sharegpt = [
      { from: "human", value: "hi" },
      { from: "gpt", value: "hello", weight: 0 },
    ];
    expect((await readContent("a.json", JSON.stringify(sharegpt))).records).toEqual([
      [1, { messages: [turns[0], { ...turns[1], weight: 0 }] }],
    ]);
  });

  it("is read in pieces, whatever they are cut at", async () => {
    const rows = Array.from({ length: 3000 }, (_, i) => ({ i, text: `"[{\\ ✓ ${"x".repeat(i % 700)}` }));
    const { records, problems } = await readContent("a.json", JSON.stringify({ n: 1, data: rows }, null, 1));
    expect(problems).toEqual([]);
    expect(records.map(([, record]) => record)).toEqual(rows);
  });
});

describe("CSV of spreadsheets", () => {
  const rows = [
    { prompt: "p, q", completion: 'c "d"\ne' },
    { prompt: "r", completion: "s" },
  ];
  const cell = (text: string): string => `"${text.replaceAll('"', '""')}"`;
  const table = (separator: string, end: string): string =>
    [["prompt", "completion"], ...rows.map((row) => [cell(row.prompt), cell(row.completion)])]
      .map((fields) => fields.join(separator))
      .join(end);
  const read = async (content: string | Uint8Array): Promise<unknown> => {
    const { records, problems } = await readContent("a.csv", content);
    expect(problems).toEqual([]);
    return records.map(([, record]) => record);
  };

  it.each([",", ";", "\t"])("is separated by what the header is: %j", async (separator) => {
    expect(await read(table(separator, "\r\n"))).toEqual(rows);
  });

  it("may say its separator, and have spaces around names", async () => {
    expect(await read(`sep=;\r\n${table(";", "\r\n")}`)).toEqual(rows);
    expect(await read(`"sep=|"\n${table("|", "\n")}`)).toEqual(rows);
    expect(await read("a , b\n1,2\n")).toEqual([{ a: "1", b: "2" }]);
  });

  it("may have CR line ends, or be UTF-16", async () => {
    const flat = rows.map((row) => ({ ...row, completion: row.completion.replace("\n", " ") }));
    const text = table(",", "\r").replace("\n", " ");
    expect(await read(text)).toEqual(flat);
    const utf16 = Buffer.concat([Buffer.from([0xff, 0xfe]), Buffer.from(table("\t", "\r\n"), "utf16le")]);
    expect(await read(utf16)).toEqual(rows);
    const bare = Buffer.from(table("\t", "\r\n"), "utf16le");
    expect(await read(bare)).toEqual(rows);
    expect(await read(bare.swap16())).toEqual(rows);
  });

  it("is told apart by its records where the header has several separators, which is noted", async () => {
    const { records, problems, notes } = await readContent(
      "a.csv",
      'prompt;answer, long\n"a;b,c";d\ne,f,g;h\n',
    );
    expect(problems).toEqual([]);
    expect(records.map(([, record]) => record)).toEqual([
      { prompt: "a;b,c", "answer, long": "d" },
      { prompt: "e,f,g", "answer, long": "h" },
    ]);
    expect(notes).toEqual([
      'the header has several of , ; and tab: the first records are a table with ";", which is taken (first: a.csv:1)',
    ]);
    const late = `a;b,c\n${"x,y\n".repeat(100)}1;2;3\n`; // read on with the separator of the first fifty lines
    expect((await readContent("a.csv", late)).records).toHaveLength(100);
  });

  it("loses the whole record of a line that is not UTF-8, and says which line", async () => {
    const { records, problems } = await readContent(
      "a.csv",
      bytes('a,b\nx,"l1\n', [0xff, 0xfe], '\nl3"\nz,3\n'),
    );
    expect(records).toEqual([[5, { a: "z", b: "3" }]]);
    expect(problems).toEqual(["a.csv:3: not valid UTF-8: byte 1 (0xff)"]);
    const header = await readContent("a.csv", bytes("a,", [0xff], "\nx,1\n"));
    expect(header).toMatchObject({ records: [], problems: ["a.csv:1: not valid UTF-8: byte 3 (0xff)"] });
  });

  it("does not repair broken UTF-16", async () => {
    const text = (part: string): Buffer => Buffer.from(part, "utf16le");
    const broken = Buffer.concat([text("a,b\nx,"), Buffer.from([0x00, 0xd8]), text("y\n")]);
    expect((await readContent("a.csv", broken)).problems).toEqual(["a.csv: not valid UTF-16 (utf-16le)"]);
  });

  it("loses one record to a quote that is not closed, not the rest of the file", async () => {
    const content = 'a,b\n1,2\n"open,3\n"what is 1?","x, y"\n"5","6"\n';
    const { records, problems } = await readContent("a.csv", content);
    expect(problems).toEqual([
      "a.csv:3: not valid CSV: a quoted field of this record is closed in the middle of line 4: expected the separator or the line's end behind the quote",
    ]);
    expect(records).toEqual([
      [2, { a: "1", b: "2" }],
      [5, { a: "5", b: "6" }],
    ]);
  });

  it("is refused where the separator cannot be told", async () => {
    for (const content of ["a;b,c\n1;2,3\n", "a;b,c\n", "a;b,c\n1\n"])
      expect((await readContent("a.csv", content)).problems[0]).toContain(
        "a.csv:1: the header has several of , ; and tab, and the first records do not tell what separates the fields",
      );
  });

  it("may have many columns", async () => {
    const names = Array.from({ length: 50_000 }, (_, i) => `c${i}`);
    const { records } = await readContent("a.csv", `${names.join()}\n${names.join()}\n`);
    expect(Object.keys(records[0]?.[1] ?? {})).toHaveLength(50_000);
  });
});

describe("CSV and TSV", () => {
  it("gives records by header; lines are counted through quoted newlines, CRLF and blank lines", async () => {
    const read = await readContent("a.csv", '\ufeffa,b\r\n1,"x,""y"""\r\n\r\n"two\r\nlines",3\r\n4,\r\n');
    expect(read).toEqual({
      records: [
        [2, { a: "1", b: 'x,"y"' }],
        [4, { a: "two\nlines", b: "3" }],
        [6, { a: "4", b: "" }],
      ],
      problems: [],
      count: 0,
      notes: [],
    });
  });

  it("skips blank lines, but not a record of empty fields", async () => {
    expect((await readContent("a.tsv", "a\tb\n\n \n\t\nx\ty\n")).records).toEqual([
      [4, { a: "", b: "" }],
      [5, { a: "x", b: "y" }],
    ]);
  });

  it("takes quotes in TSV as characters where they do not enclose a field", async () => {
    expect((await readContent("a.tsv", 'a\tb\nsay "hi"\t5" disk\n')).records).toEqual([
      [2, { a: 'say "hi"', b: '5" disk' }],
    ]);
  });

  it("reports records that do not fit, and reads on", async () => {
    const read = await readContent("a.csv", 'a,b\n1,2,3\n4\n5,x"y\n6,7\n');
    expect(read.records).toEqual([[5, { a: "6", b: "7" }]]);
    expect(read.problems).toEqual([
      "a.csv:2: not valid CSV: expected 2 fields as in the header, got 3",
      "a.csv:3: not valid CSV: expected 2 fields as in the header, got 1",
      'a.csv:4: not valid CSV: Invalid Opening Quote: a quote is found on field 1, value is "x"',
    ]);
  });

  it("reports a quote that never closes, a name given twice, and invalid UTF-8", async () => {
    const of = async (content: string | Uint8Array): Promise<readonly string[]> =>
      (await readContent("a.csv", content)).problems;
    expect(await of('a,b\n1,2\n3,"4\n5,6\n')).toEqual([
      "a.csv:3: not valid CSV: a quote that opens in this record is not closed to the end of the file",
    ]);
    expect(await of("a,b,a\n1,2,3\n")).toEqual(['a.csv:1: not valid CSV: the header names "a" twice']);
    expect(await of(bytes("a,b\n1,2\n3,", [0xff], "\n4,5\n6\n"))).toEqual([
      "a.csv:3: not valid UTF-8: byte 3 (0xff)",
      "a.csv:5: not valid CSV: expected 2 fields as in the header, got 1",
    ]);
    expect(await of("a,b\n")).toEqual(["a.csv: holds no records"]);
    expect(await of("")).toEqual(["a.csv: holds no records"]);
  });

  it("refuses a record over the limit, on one line or many", async () => {
    const options = { maxLineBytes: 100 };
    const line = await readContent("a.csv", `a,b\n1,${"x".repeat(200)}\n3,4\n`, options);
    expect(line.problems).toEqual(["a.csv:2: the line is 202 bytes long; the limit is 100"]);
    expect(line.records).toEqual([[3, { a: "3", b: "4" }]]);
    const lines = await readContent("a.csv", `a,b\n1,"${"xxxxxxxxx\n".repeat(20)}"\n`, options);
    expect(lines.problems[0]).toContain(
      "a.csv:2: not valid CSV: a quote that opens in this record is not closed within 100 characters",
    );
  });

  it("can be left in the middle", async () => {
    const folder = writeFiles({ "a.csv": `a\n${"x\n".repeat(10_000)}` });
    for await (const { record } of readRecords([join(folder, "a.csv")], problemList(), {
      files: pathStorage,
    })) {
      expect(record).toEqual({ a: "x" });
      break;
    }
  });
});

describe("Parquet", () => {
  it("gives the rows of every row group, 64-bit integers as numbers, dates as text", async () => {
    const read = await readPath(fixture("prompts.parquet"));
    expect(read.problems).toEqual([]);
    expect(read.records).toHaveLength(6);
    expect(read.records[5]).toEqual([
      6,
      { prompt: "what is 6 + 6? ✓", answer: 12, date: "2024-01-06T00:00:00" },
    ]);
  });

  it("gives decimals, dates, times and float32 as the file has them, nested and null ones too", async () => {
    const { records, problems, notes } = await readPath(fixture("values.parquet"));
    expect(problems).toEqual([]);
    expect(notes).toEqual([expect.stringMatching(/^"double" is NaN in 1 row: .*values\.parquet row 3\)$/)]);
    const { rows } = JSON.parse(readFileSync(fixture("values.json"), "utf8"));
    const digits = (_key: string, value: unknown) =>
      value !== null && typeof value === "object" && "\u0000number" in value ? value["\u0000number"] : value;
    const plain = records.map(([, record]) => JSON.parse(JSON.stringify(record), digits));
    expect(plain).toEqual(rows);
  });

  it("names the column of a NaN in a list, keeps the numbers of JSON texts, and the digits of halves", () => {
    const found: string[] = [];
    const list = schemaTree(
      [
        { name: "root", num_children: 1 },
        { name: "scores", num_children: 1, converted_type: "LIST" },
        { name: "list", num_children: 1, repetition_type: "REPEATED" },
        { name: "element", type: "DOUBLE" },
      ],
      (column) => found.push(column),
    );
    expect(converted({ scores: [Number.NaN, 5] }, list)).toEqual({ scores: [null, new ExactNumber("5.0")] });
    expect(found).toEqual(["scores"]);
    const json = schemaTree([{ name: "j", type: "BYTE_ARRAY", converted_type: "JSON" }]);
    const value = { x: new ExactNumber("1.0") };
    expect(converted(value, json)).toEqual(value);
    const half = schemaTree([
      { name: "h", type: "FIXED_LEN_BYTE_ARRAY", type_length: 2, logical_type: { type: "FLOAT16" } },
    ]);
    expect(converted(0.0999755859375, half)).toBe(0.1);
    expect(String(converted(Number.NEGATIVE_INFINITY, half))).toBe("-inf");
  });

  it("gives durations, which have no other type that is read", () => {
    const tree = schemaTree([
      { name: "d", type: "FIXED_LEN_BYTE_ARRAY", type_length: 12, converted_type: "INTERVAL" },
    ]);
    const duration = (months: number, days: number, millis: number): unknown =>
      converted(new Uint8Array(Uint32Array.of(months, days, millis).buffer), tree);
    expect(duration(14, 3, 500)).toBe("P14M3DT0.5S");
    expect(duration(0, 0, 0)).toBe("PT0S");
    expect(duration(1, 0, 0)).toBe("P1M");
  });

  it("reads LZ4 with a column that is null throughout", async () => {
    const { records, problems } = await readPath(fixture("empty-column.parquet"));
    expect(problems).toEqual([]);
    expect(records.map(([, record]) => record)).toEqual([
      { prompt: "a", completion: "b", nothing: null },
      { prompt: "c", completion: "d", nothing: null },
    ]);
  });

  it("refuses pages that are small in the file alone, and values over the limit", async () => {
    const { problems } = await readPath(fixture("bomb.parquet"));
    expect(problems[0]).toContain("a page holds 300,000,0");
    const short = await readPath(fixture("prompts.parquet"), { maxLineBytes: 10 });
    expect(short.problems[0]).toMatch(
      /prompts\.parquet row 1: field "prompt" is 1\d characters long; the limit is 10$/,
    );
  });

  it("refuses row groups whose columns are not those of the schema", async () => {
    const sound = readFileSync(fixture("prompts.parquet"));
    const damaged = Buffer.from(sound);
    damaged.write("Answer", damaged.lastIndexOf("answer"));
    const { records, problems } = await readContent("a.parquet", damaged);
    expect(records).toEqual([]);
    expect(problems).toEqual([
      'a.parquet: not readable as Parquet after 0 rows: row group 3: column "Answer" is not in the schema',
    ]);
  });

  it("leaves bytes that are no text as bytes, and says so where text is wanted", () => {
    const own = schemaTree([{ name: "image", type: "BYTE_ARRAY" }]);
    const image = converted(new Uint8Array([0xff, 0xd8]), own);
    expect(image).toEqual(new Uint8Array([0xff, 0xd8]));
    expect(converted(new TextEncoder().encode("ä"), own)).toBe("ä");
    const problems: string[] = [];
    expect(textField({ image }, "image", (message) => problems.push(message))).toBeNull();
    expect(problems).toEqual(['field "image": expected text, got bytes that are no UTF-8 text']);
  });

  it("gives lists of structs as objects", async () => {
    const [first] = (await readPath(fixture("messages.parquet"))).records;
    const messages = [
      { role: "user", content: "hi" },
      { role: "assistant", content: "hello" },
    ];
    expect(first).toEqual([1, { messages }]);
  });

  it("reports a file that is no Parquet", async () => {
    const [problem] = (await readContent("a.parquet", "PAR1 or not")).problems;
    expect(problem).toMatch(/^a\.parquet: not readable as Parquet after 0 rows: /);
  });
});

describe("plain text", () => {
  const content = "\ufeffone\r\ntwo\n\n \nthree\n";
  it("is one record a file, a paragraph or a line", async () => {
    const of = async (textUnit?: "file" | "paragraph" | "line"): Promise<unknown> =>
      (await readContent("a.txt", content, { textUnit })).records;
    expect(await of()).toEqual([[1, { text: "one\ntwo\n\n \nthree" }]]);
    expect(await of("paragraph")).toEqual([
      [1, { text: "one\ntwo" }],
      [5, { text: "three" }],
    ]);
    expect(await of("line")).toEqual([
      [1, { text: "one" }],
      [2, { text: "two" }],
      [5, { text: "three" }],
    ]);
  });

  it("refuses a record over the limit", async () => {
    const read = await readContent("a.txt", "abcd\n".repeat(30), { maxLineBytes: 100 });
    expect(read.problems).toEqual(["a.txt: longer than 100 bytes: read it by paragraph or by line"]);
    expect(read.records).toEqual([]);
  });
});

describe("files", () => {
  it("are read one after the other, by extension in any case", async () => {
    const folder = writeFiles({ "a.JSONL": '{"a":1}\n', "b.csv": "a\n2\n", "c.xls": "x" });
    const problems = problemList();
    const found: string[] = [];
    const paths = ["a.JSONL", "missing.csv", "b.csv", "c.xls"].map((name) => join(folder, name));
    for await (const { where } of readRecords(paths, problems, { files: pathStorage }))
      found.push(formatWhere(where));
    expect(found).toEqual([`${folder}/a.JSONL:1`, `${folder}/b.csv:2`]);
    expect(problems.first).toEqual([
      {
        where: `${folder}/missing.csv`,
        message: "cannot be read: no such file",
      },
      {
        where: `${folder}/c.xls`,
        message: "unknown kind of file; known: .jsonl, .ndjson, .json, .csv, .tsv, .parquet, .txt",
      },
    ]);
  });
});

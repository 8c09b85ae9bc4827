import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { problemList } from "../../src/data/problems.ts";
import { formatWhere, readRecords } from "../../src/data/records.ts";
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

  it("says that a UTF-16 file is one", async () => {
    const read = await readContent("a.jsonl", bytes([0xff, 0xfe], '{"a":1}'));
    expect(read.problems).toEqual(["a.jsonl:1: the file is UTF-16; save it as UTF-8"]);
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

describe("JSON", () => {
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
    expect(await of('{"rows": []}')).toEqual([
      'a.json: expected an array of objects, or an object with an array "data"',
    ]);
    expect(await of(bytes("[\n", [0xff], "]"))).toEqual(["a.json:2: not valid UTF-8: byte 3 (0xff)"]);
    expect(await of("[]")).toEqual(["a.json: holds no records"]);
    expect(await of("")).toEqual(["a.json: holds no records"]);
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
    });
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
      "a.csv:2: not valid CSV: Invalid Record Length: columns length is 2, got 3 on line 2",
      "a.csv:3: not valid CSV: Invalid Record Length: columns length is 2, got 1 on line 3",
      'a.csv:4: not valid CSV: Invalid Opening Quote: a quote is found on field "b" at line 4, value is "x"',
    ]);
  });

  it("reports a quote that never closes, a name given twice, and invalid UTF-8", async () => {
    const of = async (content: string | Uint8Array): Promise<readonly string[]> =>
      (await readContent("a.csv", content)).problems;
    expect((await of('a,b\n1,2\n3,"4\n5,6\n'))[0]).toContain("not valid CSV: Quote Not Closed");
    expect(await of("a,b,a\n1,2,3\n")).toEqual(['a.csv:1: not valid CSV: the header names "a" twice']);
    expect(await of(bytes("a,b\n1,2\n3,", [0xff], "\n4,5\n6\n"))).toEqual([
      "a.csv:3: not valid UTF-8: byte 3 (0xff)",
      "a.csv:5: not valid CSV: Invalid Record Length: columns length is 2, got 1 on line 5",
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
    expect(lines.problems[0]).toContain("record exceed the maximum number of tolerated bytes of 100");
  });

  it("can be left in the middle", async () => {
    const folder = writeFiles({ "a.csv": `a\n${"x\n".repeat(10_000)}` });
    for await (const { record } of readRecords([join(folder, "a.csv")], problemList())) {
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
      { prompt: "what is 6 + 6? ✓", answer: 12, date: "2024-01-06T00:00:00.000Z" },
    ]);
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
    for await (const { where } of readRecords(paths, problems)) found.push(formatWhere(where));
    expect(found).toEqual([`${folder}/a.JSONL:1`, `${folder}/b.csv:2`]);
    expect(problems.first).toEqual([
      {
        where: `${folder}/missing.csv`,
        message: `cannot be read: ENOENT: no such file or directory, open '${folder}/missing.csv'`,
      },
      {
        where: `${folder}/c.xls`,
        message: "unknown kind of file; known: .jsonl, .ndjson, .json, .csv, .tsv, .parquet, .txt",
      },
    ]);
  });
});

import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it, onTestFinished } from "vitest";
import { bundledDatasets } from "../../src/data/bundled.ts";
import { type DatasetOptions, loadDataset } from "../../src/data/dataset.ts";
import { noteText } from "../../src/data/notes.ts";
import { packagedPath } from "../../src/data/packaged-path.ts";
import type { DatasetRow } from "../../src/data/rows.ts";
import { openSpill } from "../../src/data/spill.ts";
import type { HubDataset } from "../../src/hub/dataset.ts";
import type { Progress } from "../../src/io/progress.ts";
import { contentText } from "../../src/text/messages.ts";
import { temporaryFolder, writeFiles } from "./files.ts";

const lines = (...numbers: number[]): string =>
  numbers.map((n) => `${JSON.stringify({ prompt: `p${n}`, completion: `c${n}` })}\n`).join("");
const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);
/** The numbers in the prompts. */
const numbers = (rows: Iterable<DatasetRow>): number[] =>
  Array.from(rows, ({ row }) =>
    row.kind === "conversation" ? Number(contentText(row.messages[0] ?? {}).slice(1)) : Number.NaN,
  );

describe("bundled data", () => {
  it("is read by its name, with its own fields and splits", async () => {
    const dataset = await loadDataset({ source: "shell-recipes" });
    expect(dataset).toMatchObject({ name: "shell-recipes", format: "prompt-completion" });
    expect([dataset.train.length, dataset.validation.length, dataset.test.length]).toEqual([1307, 0, 213]);
    expect(dataset.train.at(0)?.row).toEqual({
      isPlain: true,
      kind: "conversation",
      messages: [
        { role: "user", content: "adb: Start a shell on the device" },
        { role: "assistant", content: "adb shell" },
      ],
    });
    expect(dataset.duplicates.test).toBe(0);
  });

  it("lets the user map other fields", async () => {
    const { train } = await loadDataset({ source: "shell-recipes", promptField: "task", limit: 1 });
    expect(train.at(0)?.row).toMatchObject({
      messages: [{ content: "Start a shell on the device" }, { content: "adb shell" }],
    });
    const options = { source: "shell-recipes", promptTemplate: "{{tool}}? {{task}}", limit: 1 };
    expect((await loadDataset(options)).train.at(0)?.row).toMatchObject({
      messages: [{ content: "adb? Start a shell on the device" }, {}],
    });
  });

  it.each([
    ["us-addresses", [1101, 0, 197], ["55 West Cermak", '{"number": "55", "street": "West Cermak"}']],
    [
      "wikisql",
      [1000, 100, 100],
      [
        "Table: 1-10015132-16\nColumns: Player, No., Nationality, Position, Years in Toronto, School/Club Team\n" +
          "Question: What clu was in toronto 1995-96",
        "SELECT School/Club Team FROM 1-10015132-16 WHERE Years in Toronto = '1995-96'",
      ],
    ],
    ["dart", [1996, 0, 190], ["Bogotá | COUNTRY | Colombia", "The Bogotá metropolitan area is in Colombia."]],
  ])("%s has its rows, and no input in two splits", async (source, sizes, [prompt, completion]) => {
    const { train, validation, test, duplicates, notes } = await loadDataset({ source });
    expect([train.length, validation.length, test.length]).toEqual(sizes);
    expect(notes).toEqual([]);
    const contents = Array.from(test, ({ row }) => (row.kind === "conversation" ? row.messages : [])).map(
      (m) => m.map((message) => message.content),
    );
    expect(contents).toContainEqual([prompt, completion]);
    expect([duplicates.validation, duplicates.test]).toEqual([0, 0]);
  });

  it("names nobody in addresses: rows with a recipient are left out", async () => {
    const { train, test } = await loadDataset({ source: "us-addresses" });
    for (const { row } of [...train, ...test]) expect(JSON.stringify(row)).not.toContain('\\"name\\":');
  });

  it("comes with its licences and a description", () => {
    const notice = readFileSync(new URL("../../NOTICE", import.meta.url), "utf8");
    for (const { name, files } of bundledDatasets) {
      const folder = dirname(packagedPath(files.train));
      const readme = readFileSync(join(folder, "README.md"), "utf8");
      expect(readme).toContain(`# ${name}\n`);
      const licences = readme.match(/`LICENSE[.\w]*`/g) ?? [];
      expect(licences.length, name).toBeGreaterThan(0);
      for (const licence of licences) expect(existsSync(join(folder, licence.slice(1, -1)))).toBe(true);
      expect(notice).toContain(`- data/${name}: `);
    }
  });

  it("is found from dist/ as from src/", () => {
    const built = fileURLToPath(
      new URL("../../data/us-addresses", new URL("../../dist/data/packaged-path.js", import.meta.url)),
    );
    expect(dirname(packagedPath(bundledDatasets[0]?.files.train ?? ""))).toBe(built);
  });
});

describe("sources", () => {
  it("may be a file, or several one after the other", async () => {
    const folder = writeFiles({ "a.jsonl": lines(1, 2), "b.csv": "prompt,completion\np3,c3\n" });
    const source = ["a.jsonl", "b.csv"].map((name) => join(folder, name));
    const dataset = await loadDataset({ source });
    expect(dataset.name).toBe("a+b");
    expect(numbers(dataset.train)).toEqual([1, 2, 3]);
    expect(dataset.train.at(2)?.where).toEqual({ file: source[1], line: 2, unit: "line" });
  });

  it("may be a folder, whose files or subfolders may be named after splits", async () => {
    const named = writeFiles({
      "train-00000-of-00002.jsonl": lines(1),
      "train-00001-of-00002.jsonl": lines(2),
      "valid.jsonl": lines(3),
      "test/0.jsonl": lines(4),
      "dataset_info.json": "{}",
      "README.md": "#",
      ".cache/x.jsonl": "?",
    });
    const dataset = await loadDataset({ source: named });
    expect([dataset.train, dataset.validation, dataset.test].map(numbers)).toEqual([[1, 2], [3], [4]]);
    const unnamed = writeFiles({ "b.jsonl": lines(2), "a.jsonl": lines(1), "sub/c.jsonl": lines(3) });
    expect(numbers((await loadDataset({ source: unnamed })).train)).toEqual([1, 2, 3]);
  });

  it("may be a data set of the Hub", async () => {
    const folder = writeFiles({ "a.jsonl": lines(1), "b.jsonl": lines(2), "c.jsonl": lines(3) });
    const load = async (source: string, ...splits: string[]): Promise<number[][]> => {
      const files = splits.map((split, i) => ({
        path: `${"abc"[i]}.jsonl`,
        split,
        format: "jsonl" as const,
      }));
      const fetchDataset = async (id: string): Promise<HubDataset> => {
        expect(id).toBe(source);
        return { folder, files };
      };
      const dataset = await loadDataset({ source, fetchDataset });
      expect(dataset.name).toBe(source);
      return [dataset.train, dataset.validation, dataset.test].map(numbers);
    };
    expect(await load("some/data", "train", "test", "validation")).toEqual([[1], [3], [2]]);
    expect(await load("some/data@v1.0", "other", "train_sft", "train_gen")).toEqual([[2], [], []]);
    await expect(load("some/data", "sft", "test")).rejects.toThrow(
      "some/data has no split for training; it has: sft, test",
    );
  });

  it("are refused when they are nothing", async () => {
    const none = async (source: string): Promise<unknown> =>
      loadDataset({ source }).catch((error) => error.message);
    expect(await none("shell-recipe")).toBe(
      'No data "shell-recipe": it is no file or folder here, no bundled data set (us-addresses, wikisql, dart, shell-recipes), and no Hub id (owner/name)',
    );
    expect(await none("missing/train.jsonl")).toContain('No data "missing/train.jsonl"');
    expect(await none(writeFiles({ "README.md": "#" }))).toMatch(
      /^The folder .* holds no data files \(\.jsonl, /,
    );
  });
});

describe("splits", () => {
  const folder = (): string =>
    writeFiles({ "a.jsonl": lines(...range(0, 50)), "v.jsonl": lines(50, 7), "t.jsonl": lines(51) });
  const load = (options: Partial<DatasetOptions>): ReturnType<typeof loadDataset> => {
    const at = folder();
    const path = (name: unknown): string => join(at, String(name));
    const { validation, test } = options;
    return loadDataset({
      ...options,
      source: path("a.jsonl"),
      ...(validation ? { validation: path(validation) } : {}),
      ...(test ? { test: path(test) } : {}),
    });
  };

  it("set a share of the rows apart, each row on one side, in the order of the file", async () => {
    const { train, validation } = await load({ validationFraction: 0.2 });
    expect(numbers(validation)).toHaveLength(10);
    expect([...numbers(train), ...numbers(validation)].sort((a, b) => a - b)).toEqual(range(0, 50));
    for (const part of [train, validation])
      expect(numbers(part)).toEqual([...numbers(part)].sort((a, b) => a - b));
  });

  it("depend on the seed alone", async () => {
    const chosen = async (seed: number): Promise<number[]> =>
      numbers((await load({ validationFraction: 0.2, seed })).validation);
    expect(await chosen(1)).toEqual(await chosen(1));
    expect(await chosen(1)).not.toEqual(await chosen(2));
  });

  it("leave at least one row on each side", async () => {
    expect((await load({ validationFraction: 0.001 })).validation).toHaveLength(1);
    expect((await load({ validationFraction: 0.999 })).train).toHaveLength(1);
    const single = join(writeFiles({ "a.jsonl": lines(1) }), "a.jsonl");
    await expect(loadDataset({ source: single, validationFraction: 0.5 })).rejects.toThrow(
      "Invalid data options\n  validationFraction: cannot split 1 row into training and validation",
    );
  });

  it("come from files where given, and rows that are on two sides are counted", async () => {
    const dataset = await load({ validation: "v.jsonl", test: "t.jsonl" });
    expect([dataset.train.length, numbers(dataset.validation), numbers(dataset.test)]).toEqual([
      50,
      [50, 7],
      [51],
    ]);
    expect(dataset.duplicates).toEqual({ train: 0, validation: 1, test: 0 });
  });

  it("count rows given twice", async () => {
    const path = join(writeFiles({ "a.jsonl": lines(1, 2, 1, 1) }), "a.jsonl");
    expect((await loadDataset({ source: path })).duplicates).toEqual({ train: 2, validation: 0, test: 0 });
  });

  it("are the same where the rows are on disk", async () => {
    const spill = openSpill(temporaryFolder(), 100);
    onTestFinished(spill.close);
    const held = await load({ validationFraction: 0.2, seed: 1, test: "v.jsonl" });
    const spilled = await load({ validationFraction: 0.2, seed: 1, test: "v.jsonl", spill });
    for (const split of ["train", "validation", "test"] as const)
      expect(numbers(spilled[split])).toEqual(numbers(held[split]));
    expect(spilled.duplicates).toEqual(held.duplicates);
    expect(held.duplicates).toEqual({ train: 0, validation: 0, test: 1 });
  });

  it("are limited to their first rows", async () => {
    const { train, validation } = await load({ validation: "v.jsonl", limit: 1 });
    expect([train, validation].map(numbers)).toEqual([[0], [50]]);
  });
});

describe("reading a large file", () => {
  const source = (): string => {
    const line = `${JSON.stringify({ prompt: "p1", completion: "c".repeat(1e6) })}\n`;
    return join(writeFiles({ "a.jsonl": line.repeat(9) }), "a.jsonl");
  };

  it("tells how far it is", async () => {
    const told: Progress[] = [];
    await loadDataset({ source: source(), onProgress: (progress) => told.push(progress) });
    expect(told[0]).toEqual({ what: "reading data", doneBytes: 2 ** 20, totalBytes: 9_000_288 });
    expect(told.at(-1)).toMatchObject({ doneBytes: 9_000_288 });
  });

  it("ends when it is aborted", async () => {
    const controller = new AbortController();
    const onProgress = (): void => controller.abort(new Error("enough"));
    const loading = loadDataset({ source: source(), onProgress, signal: controller.signal });
    await expect(loading).rejects.toThrow("enough");
  });
});

describe("problems", () => {
  const rejected = async (
    files: Record<string, string>,
    options: Partial<DatasetOptions> = {},
  ): Promise<string> => {
    const folder = writeFiles(files);
    const source = Object.keys(files).map((name) => join(folder, name));
    const error = await loadDataset({ source, ...options }).catch((caught) => caught);
    expect(error.name).toBe("InputError");
    return error.message.replaceAll(`${folder}/`, "");
  };

  it("of all files and kinds come in one error", async () => {
    const message = await rejected({
      "a.jsonl": `${lines(1)}{"prompt": "p"}\n{"prompt": "p", "completion": ""}\n{\n`,
      "b.csv": "prompt,completion\np\n",
      "c.jsonl": "",
    });
    expect(message.split("\n")).toEqual([
      "The data cannot be used (4 problems)", // the row without an answer is left out
      '  a.jsonl:2: no field "completion"; the record has "prompt"',
      expect.stringMatching(/^ {2}a\.jsonl:4: not valid JSON: /),
      "  b.csv:2: not valid CSV: expected 2 fields as in the header, got 1",
      "  c.jsonl: holds no records",
    ]);
  });

  it("are left out and counted, or an error, as asked for", async () => {
    const folder = writeFiles({
      "a.jsonl": `${lines(1)}{"prompt": "p", "completion": ""}\n{"prompt": "p", "completion": null}\n{\n{"prompt": "p"}\n`,
    });
    const source = join(folder, "a.jsonl");
    const failure = async (options: Partial<DatasetOptions>): Promise<string> =>
      loadDataset({ source, ...options }).then(String, String);
    expect(await failure({})).toContain("(2 problems)");
    expect(await failure({ onBadRow: "error" })).toContain("(4 problems)");
    const { train, notes } = await loadDataset({ source, onBadRow: "drop" });
    expect(train).toHaveLength(1);
    expect(notes.map((note) => noteText(note).replaceAll(`${folder}/`, ""))).toEqual([
      '2 rows left out, with nothing to learn: field "completion" is empty: there is nothing to learn from it (first: a.jsonl:2)',
      expect.stringMatching(
        /^2 malformed rows left out, the first: not valid JSON: .* \(first: a\.jsonl:4\)$/,
      ),
    ]);
    const empty = writeFiles({ "b.jsonl": '{"prompt": "p", "completion": ""}\n' });
    await expect(loadDataset({ source: join(empty, "b.jsonl") })).rejects.toThrow(
      /no row is left of 1: 1 row left out/,
    );
  });

  it("are the first ten and the count", async () => {
    const message = await rejected({ "a.jsonl": lines(1) + '{"prompt": 1}\n'.repeat(30) });
    expect(message.split("\n")).toHaveLength(12);
    expect(message).toContain("(30 problems)");
    expect(message).toContain("  … and 20 more");
  });

  it("of an unknown format are told once", async () => {
    const message = await rejected({ "a.jsonl": '{"q": 1, "a": 2}\n'.repeat(3) });
    expect(message).toMatch(
      /^The data cannot be used \(1 problem\)\n {2}a\.jsonl:1: cannot tell the data format: /,
    );
  });

  it("of options come before any file is read", async () => {
    const options = { source: "nowhere", validation: "nowhere", validationFraction: 2, limit: 0 };
    await expect(loadDataset(options)).rejects.toThrow(
      "Invalid data options\n  validationFraction: expected a share in [0, 1), got 2\n  validationFraction: validation rows are given already\n  limit: expected a positive integer, got 0",
    );
    await expect(loadDataset({ source: "shell-recipes", format: "x" })).rejects.toThrow(
      "Unknown data format",
    );
  });

  it("of a null in Parquet name the row", async () => {
    const path = fileURLToPath(new URL("../fixtures/data/messages.parquet", import.meta.url));
    await expect(loadDataset({ source: path })).rejects.toThrow(
      'messages.parquet row 2: messages[1]: "content": expected text, got null',
    );
  });

  it("of fields that the format does not have, all of them; null stands for not given", async () => {
    const options = { source: "shell-recipes", labelField: "kind", messagesField: "talk", textField: null };
    await expect(loadDataset({ ...options, format: "prompt-completion" })).rejects.toThrow(
      "The data cannot be used (2 problems)\n" +
        "  messagesField: has no effect: the format of the data is prompt-completion, which has promptField, completionField, systemField, promptTemplate, referencesField\n" +
        "  labelField: has no effect",
    );
    const nothing = {
      validation: null,
      test: null,
      limit: null,
      format: null,
      promptField: null,
      onBadRow: null,
    };
    expect((await loadDataset({ source: "shell-recipes", ...nothing })).train.length).toBe(1307);
  });
});

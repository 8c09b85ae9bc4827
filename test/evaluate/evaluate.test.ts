import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { InputError, NotFoundError, UnsupportedError } from "../../src/errors.ts";
import {
  type EvaluateEvent,
  type EvaluateOptions,
  type EvaluationSummary,
  evaluate,
} from "../../src/evaluate/evaluate.ts";
import { bleu, exactMatch, rouge } from "../../src/evaluate/text-metrics.ts";
import { loadModel } from "../../src/generate/model.ts";
import { readFixture } from "../graph/harness.ts";
import { fixturePath } from "../peft/adapters.ts";

interface Fixture {
  readonly rows: readonly { readonly prompt: string; readonly completion: string }[];
  readonly base: Scores;
  readonly adapter: Scores;
}
type Scores = Pick<EvaluationSummary, "loss" | "labelTokens" | "tokenAccuracy">;

const fixture = readFixture<Fixture>("evaluate/evaluate.json");
const model = fixturePath("models/llama");
const adapter = fixturePath("models/llama/adapter");

// PyTorch sums in float64, this in float32 over 100 labels; seen: 5e-7.
const LOSS = 1e-5;

let folder: string;
let data: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "lowrank-test-"));
  data = await dataFile("rows.jsonl", fixture.rows);
});
afterAll(() => rm(folder, { recursive: true }));

async function dataFile(name: string, rows: readonly unknown[]): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
  return path;
}

async function eventsOf(options: Partial<EvaluateOptions> = {}): Promise<EvaluateEvent[]> {
  const events: EvaluateEvent[] = [];
  const access = { cacheFolder: folder, offline: true, threads: 1 };
  for await (const event of evaluate({ model, data: [data], ...access, ...options })) events.push(event);
  return events;
}

async function resultOf(options: Partial<EvaluateOptions> = {}): Promise<EvaluationSummary> {
  const last = (await eventsOf(options)).at(-1);
  if (last?.type !== "result") throw new Error(`the last event is ${last?.type}`);
  return last;
}

async function errorOf(options: Partial<EvaluateOptions>): Promise<InputError> {
  return eventsOf(options).then(
    () => {
      throw new Error("expected an error");
    },
    (error) => error,
  );
}

function expectScores(result: EvaluationSummary, scores: Scores): void {
  expect(Math.abs(result.loss - scores.loss)).toBeLessThan(LOSS);
  expect(result.perplexity).toBe(Math.exp(result.loss));
  expect(result.tokenAccuracy).toBeCloseTo(scores.tokenAccuracy as number, 6);
  expect(result.labelTokens).toBe(scores.labelTokens);
}

describe("loss, perplexity and accuracy are those of transformers and PEFT", () => {
  test.each([1, 2, 4, 15, 64])("%i examples side by side", async (batchSize) => {
    expectScores(await resultOf({ batchSize }), fixture.base);
    expectScores(await resultOf({ batchSize, adapter }), fixture.adapter);
  });

  test("the summary comes last, after every example was counted", async () => {
    const events = await eventsOf({ batchSize: 2 });
    const counted = events.filter((e) => e.type === "examples");
    expect(counted.at(-1)).toEqual({ type: "examples", done: 15, total: 15 });
    expect(counted.map((e) => e.done)).toEqual(counted.map((e) => e.done).toSorted((a, b) => a - b));
    const result = events.at(-1) as EvaluationSummary;
    expect(result).toMatchObject({ type: "result", split: "test", examples: 15 });
    expect(result.elapsedMs).toBeGreaterThan(0);
    expect(result).not.toHaveProperty("bleu");
  });

  test("a merged folder scores as base and adapter do", async () => {
    const { mergeAdapter } = await import("../../src/peft/merge/merge.ts");
    const output = join(folder, "merged");
    await mergeAdapter({ model, adapter, output, cacheFolder: folder, offline: true });
    expectScores(await resultOf({ model: output }), fixture.adapter);
  });
});

describe("answers", () => {
  test.each([1, 4, 15])(
    "are those of greedy generation, %i side by side, and scored as the metrics say",
    async (batchSize) => {
      const loaded = await loadModel({ model, adapter, cacheFolder: folder, offline: true, threads: 1 });
      const outputs: string[] = [];
      for (const { prompt } of fixture.rows)
        outputs.push((await loaded.generateText({ prompt, maxTokens: 9 })).text.trim());
      await loaded.close();
      // One answer made right, so that the shares are not all zero.
      const rows = fixture.rows.map((row, i) => (i === 2 ? { ...row, completion: outputs[2] } : row));
      const references = rows.map((row) => row.completion as string);
      const path = await dataFile(`answers-${batchSize}.jsonl`, rows);
      const result = await resultOf({ data: [path], adapter, generate: true, maxTokens: 9, batchSize });
      const { rouge1, rougeL } = rouge(outputs, references);
      expect(result.exactMatch).toBeCloseTo(1 / 15, 12);
      expect(result).toMatchObject({
        exactMatch: exactMatch(outputs, references),
        bleu: bleu(outputs, references),
        rouge1,
        rougeL,
      });
    },
  );

  test("plain text has none: said, and left out", async () => {
    const path = await dataFile("text.jsonl", [{ text: "list the files" }, { text: "ls -la" }]);
    const events = await eventsOf({ data: [path], generate: true });
    const warnings = events.filter((e) => e.type === "warning");
    expect(warnings).toEqual([
      { type: "warning", message: "2 of 2 rows have no prompt that can be answered" },
    ]);
    expect(events.at(-1)).toMatchObject({ type: "result", examples: 2 });
    expect(events.at(-1)).not.toHaveProperty("bleu");
  });

  test("end where the model's positions do", async () => {
    const gpt2 = fixturePath("models/gpt2"); // 64 positions
    const path = await dataFile("long.jsonl", [{ prompt: "echo ".repeat(8), completion: "a" }]);
    const result = await resultOf({
      model: gpt2,
      data: [path],
      generate: true,
      maxTokens: 500,
      maxLength: 64,
    });
    expect(result.exactMatch).toBe(0);
  });
});

describe("which rows", () => {
  test("of a bundled data set the test rows; limit takes the first", async () => {
    const all = await resultOf({ data: ["shell-recipes"], limit: 5, maxLength: 256 });
    expect(all).toMatchObject({ split: "test", examples: 5 });
    expect(await resultOf({ limit: 2 })).toMatchObject({ split: "test", examples: 2 });
  });

  test("options not given have training's defaults", async () => {
    expect(await resultOf({ limit: 3 })).toMatchObject(
      await resultOf({
        limit: 3,
        batchSize: 8,
        maxLength: 256,
        lossOn: "completions",
        truncation: "left",
      }).then(({ elapsedMs: _, ...rest }) => rest),
    );
    const all = await resultOf({ limit: 3, lossOn: "all" });
    expect(all.labelTokens).toBeGreaterThan((await resultOf({ limit: 3 })).labelTokens);
  });
});

describe("refused", () => {
  test("options out of range, all of them at once", async () => {
    const error = await errorOf({
      batchSize: 0,
      maxLength: 1,
      maxTokens: 0,
      threads: -1,
      lossOn: "x" as "all",
    });
    expect(error).toBeInstanceOf(InputError);
    expect(error.problems.map((p) => p.where).toSorted()).toEqual(
      ["batchSize", "lossOn", "maxLength", "maxTokens", "threads"].toSorted(),
    );
  });

  test("a device that is not there, before anything is read", async () => {
    const device = process.platform === "win32" ? "coreml" : "dml";
    expect(await errorOf({ device, data: ["./nothing.jsonl"] })).toBeInstanceOf(UnsupportedError);
  });

  test("how a device was tested is told, once, whether it is there or not", async () => {
    const said: string[] = [];
    try {
      for await (const event of evaluate({ model, data: [data], cacheFolder: folder, device: "webgpu" }))
        if (event.type === "warning") said.push(event.message);
    } catch (error) {
      expect(error).toBeInstanceOf(UnsupportedError);
    }
    expect(said.filter((message) => message.startsWith('device "webgpu" was tested on'))).toHaveLength(1);
  });

  test("data before the model is looked for", async () => {
    const wrong = { model: "./no-model" };
    expect((await errorOf({ ...wrong, data: ["./nothing.jsonl"] })).message).toContain("nothing.jsonl");
    const path = await dataFile("bad.jsonl", [
      { prompt: "a", completion: "b" },
      { prompt: "a" },
      { prompt: "c" },
    ]);
    const error = await errorOf({ ...wrong, data: [path] });
    expect(error).toBeInstanceOf(InputError);
    expect(error.count).toBe(2);
    expect(error.message).toContain("bad.jsonl:2");
    const empty = await dataFile("empty.jsonl", []);
    expect(await errorOf({ ...wrong, data: [empty] })).toBeInstanceOf(InputError);
  });

  test("a model or an adapter that is not there, an adapter of another model", async () => {
    expect(await errorOf({ model: "./no-model" })).toBeInstanceOf(NotFoundError);
    expect(await errorOf({ adapter: "./no-adapter" })).toBeInstanceOf(NotFoundError);
    expect(await errorOf({ adapter: fixturePath("models/llama3/adapter") })).toBeInstanceOf(InputError);
  });

  test("rows that are all too long to score", async () => {
    const error = await errorOf({ maxLength: 4, truncation: "drop" });
    expect(error).toBeInstanceOf(InputError);
  });
});

test("an aborted signal ends it with the reason", async () => {
  const reason = new Error("mine");
  await expect(eventsOf({ signal: AbortSignal.abort(reason) })).rejects.toThrow("mine");
  const controller = new AbortController();
  const heard: string[] = [];
  const run = async (): Promise<void> => {
    const options = { model, data: [data], cacheFolder: folder, threads: 1, batchSize: 1 };
    for await (const event of evaluate({ ...options, signal: controller.signal })) {
      heard.push(event.type);
      if (event.type === "examples") controller.abort(reason);
    }
  };
  await expect(run()).rejects.toThrow("mine");
  expect(heard).not.toContain("result");
});

import { writeFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Rows } from "../../src/data/rows.ts";
import type { BaseModel } from "../../src/models/base.ts";
import { openBase } from "../../src/models/base-model.ts";
import { ALONE } from "../../src/parallel/group.ts";
import { adaptBase } from "../../src/peft/use/adapted-base.ts";
import type { AdaptedModel } from "../../src/peft/use/adapted-model.ts";
import { openRuntime, type Runtime } from "../../src/runtime/runtime.ts";
import { floats } from "../../src/tensor/tensor.ts";
import { checkScoring, scoreAnswers } from "../../src/train/answers.ts";
import { trainConfig } from "../../src/train/config/config.ts";
import type { ExactMatch } from "../../src/train/events.ts";
import { readData } from "../../src/train/read-data.ts";
import { answer, promptsOf } from "../../src/train/samples.ts";
import { languageModellingTask } from "../../src/train/tasks/language-modelling.ts";
import { openLab, runAll, tinyModel } from "./tiny-run.ts";

const lab = openLab();
afterAll(lab.remove);

const MAX_LENGTH = 96;
let base: BaseModel;
beforeAll(async () => {
  base = await openBase(tinyModel("llama"), { offline: true });
});

async function rowsOf(name: string, rows: readonly object[]): Promise<{ path: string; rows: Rows }> {
  const path = lab.path(name);
  await writeFile(path, rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
  return { path, rows: (await readData(trainConfig({ data: [path] }))).train };
}

/** Does something with the base, or with an adapter on it. */
async function using<T>(
  adapter: string | null,
  use: (runtime: Runtime, model: AdaptedModel) => Promise<T>,
): Promise<T> {
  const { adaptation } = await adaptBase(base, adapter === null ? {} : { adapter });
  const { config, family, modules, frozen } = base;
  const sizes = { positionCount: MAX_LENGTH, rowTokens: MAX_LENGTH };
  const runtime = openRuntime({ threads: 1 });
  try {
    if (adaptation) await runtime.put({ theta: floats(adaptation.theta, [adaptation.theta.length]) });
    const methods = adaptation?.methods ?? [];
    return await use(runtime, { config, family, modules, frozen, methods, ...sizes });
  } finally {
    await runtime.close();
  }
}

function scored(rows: Rows, count: number, adapter: string | null = null): Promise<ExactMatch | null> {
  const { signal } = new AbortController();
  return using(adapter, (runtime, model) =>
    scoreAnswers({ runtime, model, base, rows, count, maxLength: MAX_LENGTH, signal, group: ALONE }),
  );
}

describe("exact match", () => {
  test("is that of the adapter in use, over as many evenly spaced rows as were asked for", async () => {
    const answers = ["yes", "yes", "no", "yes", "no", "no"];
    const held = answers.map((completion, i) => ({ prompt: `list the line ${200 + i}`, completion }));
    const { rows } = await rowsOf("held.jsonl", held);
    const learned = Array.from({ length: 24 }, (_, i) => ({
      prompt: `list the line ${i}`,
      completion: "yes",
    }));
    const options = {
      model: tinyModel("llama"),
      output: lab.path("run"),
      rank: 4,
      offline: true,
      samples: 0,
    };
    const data = [(await rowsOf("learned.jsonl", learned)).path];
    await runAll({ ...options, data, learningRate: 0.01, maxSteps: 60, batchSize: 8, maxLength: MAX_LENGTH });
    expect(await scored(rows, 6)).toEqual({ share: 0, prompts: 6 });
    expect(await scored(rows, 6, lab.path("run/adapter"))).toEqual({ share: 0.5, prompts: 6 });
    // Rows 1, 3 and 5.
    expect(await scored(rows, 3, lab.path("run/adapter"))).toEqual({ share: 1 / 3, prompts: 3 });
    expect((await scored(rows, 99, lab.path("run/adapter")))?.prompts).toBe(6);
  });

  test("does not count an answer that goes on after what is right", async () => {
    const asked = { prompt: "list the line 200", completion: "?" };
    const { rows } = await rowsOf("asked.jsonl", [asked]);
    const [said] = await using(null, (runtime, model) =>
      answer(runtime, model, base, promptsOf(base, [], rows, MAX_LENGTH), { maxTokens: 6, batchSize: 1 }),
    );
    // The random model does not end its answer after six tokens.
    const { rows: begun } = await rowsOf("begun.jsonl", [{ ...asked, completion: said?.output }]);
    expect(await scored(begun, 1)).toEqual({ share: 0, prompts: 1 });
  });

  test("is refused where there is nothing to compare", async () => {
    const { rows } = await rowsOf("one.jsonl", [{ prompt: "a", completion: "b" }]);
    const { rows: texts } = await rowsOf("texts.jsonl", [{ text: "a b c" }]);
    const check =
      (count: number, held: Rows, command = "generate") =>
      (): void =>
        checkScoring(count, base, [], held, { ...languageModellingTask, command });
    expect(check(0, texts)).not.toThrow();
    expect(check(2, rows)).not.toThrow();
    expect(check(2, rows.slice(0, 0) as unknown as Rows)).toThrow(
      "scoreAnswers: needs testData, validationData or validationFraction",
    );
    expect(check(2, texts)).toThrow("scoreAnswers: no held-out row has a prompt and an answer");
    expect(check(2, rows, "classify")).toThrow("scoreAnswers: has no effect in language-modelling");
  });
});

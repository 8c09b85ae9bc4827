import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { findBundled } from "../../src/data/bundled.ts";
import { packagedPath } from "../../src/data/packaged-path.ts";
import { loadClassifier } from "../../src/generate/classifier.ts";
import type { LoadedModel } from "../../src/generate/loaded.ts";
import { loadModel } from "../../src/generate/model.ts";
import { mergeAdapter } from "../../src/peft/merge/merge.ts";
import { train } from "../../src/train/trainer.ts";
import { readFixture } from "../graph/harness.ts";
import { fixturePath } from "../peft/adapters.ts";

/** The other models with short names, each fetched by the product on first use (238 and 84 MB). */
const GEMMA = "gemma3-270m";
const MINILM = "minilm-l6";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "lowrank-test-"));
});
afterAll(() => rm(folder, { recursive: true }));

interface GemmaAnswer {
  readonly text: string;
  readonly ids: readonly number[];
  readonly greedy: readonly number[];
  /** By id. */
  readonly logits: Readonly<Record<string, number>>;
}

/** Losses of the steps of a short training. */
async function lossesOf(options: Parameters<typeof train>[0]): Promise<number[]> {
  const losses: number[] = [];
  for await (const event of train(options)) if (event.type === "step") losses.push(event.loss);
  return losses;
}

describe(GEMMA, () => {
  const { answers } = readFixture<{ readonly answers: readonly GemmaAnswer[] }>("small-models/gemma.json");
  let model: LoadedModel;
  beforeAll(async () => {
    model = await loadModel({ model: GEMMA, contextLength: 64 });
  });
  afterAll(() => model?.close());
  // Where the Hub can be reached, the short name may stand for the original weights.
  const isComparable = (): boolean => model.base.source.kind === "gguf";

  test("texts have transformers' ids, and their logits", async ({ skip }) => {
    if (!isComparable()) skip(`${model.base.source.path} has other weights than the fixture`);
    for (const { text, ids, logits } of answers) {
      expect(model.base.tokenizer.encode(text)).toEqual(ids.slice(1)); // without BOS
      const last = (await model.logits(ids)).at(-1) as Float32Array;
      // Float32 sums in another order, over 18 layers. Seen: 1.4e-5 on logits up to 22.
      for (const [id, value] of Object.entries(logits))
        expect(Math.abs((last[Number(id)] as number) - value)).toBeLessThan(1e-4);
    }
  });

  test("greedy continuations are transformers', token for token", async ({ skip }) => {
    if (!isComparable()) skip(`${model.base.source.path} has other weights than the fixture`);
    for (const { text, greedy } of answers) {
      const { ids } = await model.generateText({ prompt: text, raw: true, maxTokens: greedy.length });
      expect(ids).toEqual(greedy);
    }
  });

  test("a short training lowers the loss, and merges into a file for llama.cpp", async () => {
    const output = join(folder, "gemma-run");
    const data = join(folder, "few.jsonl");
    const rows = await readFile(packagedPath(findBundled("shell-recipes")?.files.train as string), "utf8");
    await writeFile(data, rows.split("\n").slice(0, 8).join("\n"));
    const losses = await lossesOf({
      ...{ model: GEMMA, output, samples: 0, maxLength: 64, batchSize: 8, maxSteps: 4, data: [data] },
      ...{ promptField: "prompt", completionField: "command" },
      ...{ rank: 4, alpha: 8, learningRate: 3e-3, warmupSteps: 0, schedule: "constant" },
    });
    expect(losses).toHaveLength(4);
    expect(losses.at(-1)).toBeLessThan(0.5 * (losses[0] as number));
    const merged = join(folder, "gemma.gguf");
    const access = { model: GEMMA, adapter: join(output, "adapter"), output: merged };
    const result = await mergeAdapter({ ...access, format: "gguf", dtype: "float16" });
    expect(result.changedWeights).toBeGreaterThan(0);
    // The rounding of float16. Seen: 0.07 on logits up to 22.
    expect(result.maxLogitDifference).toBeLessThan(0.5);
  });
});

describe(MINILM, () => {
  const { rows } = readFixture<{
    readonly rows: readonly {
      readonly input: readonly [string, string?];
      readonly logits: readonly number[];
    }[];
  }>("small-models/minilm.json");

  test("with an adapter and a head of PEFT's it says what transformers says", async () => {
    const adapter = fixturePath("small-models/minilm-adapter");
    const classifier = await loadClassifier({ model: MINILM, adapter });
    const inputs = rows.map(({ input: [first, second] }) =>
      second === undefined ? first : ([first, second] as const),
    );
    const answers = await classifier.classify(inputs);
    await classifier.close();
    for (const [i, { logits }] of rows.entries()) {
      const [no, yes] = logits as [number, number];
      const scores = Object.values(answers[i]?.scores ?? {});
      // Float32 sums in another order. Seen: 3e-8.
      expect(Math.abs((scores[1] as number) - 1 / (1 + Math.exp(no - yes)))).toBeLessThan(1e-6);
    }
  });

  test("a short training learns to tell two words apart; merged it says the same", async () => {
    const data = join(folder, "reviews.jsonl");
    const row = (i: number): string =>
      JSON.stringify({ text: `the film was ${i % 2 ? "great" : "awful"}, number ${i}`, label: i % 2 });
    await writeFile(data, Array.from({ length: 64 }, (_, i) => `${row(i)}\n`).join(""));
    const output = join(folder, "minilm-run");
    const losses = await lossesOf({
      ...{ model: MINILM, output, data: [data], samples: 0, batchSize: 16, maxSteps: 12 },
      ...{ rank: 4, alpha: 8, learningRate: 3e-3, warmupSteps: 0, schedule: "constant" },
    });
    expect(losses.at(-1)).toBeLessThan(0.5 * (losses[0] as number));
    const adapter = join(output, "adapter");
    const merged = join(folder, "minilm");
    await mergeAdapter({ model: MINILM, adapter, output: merged });
    const texts = ["the film was great", "the film was awful"];
    const answersOf = async (options: Parameters<typeof loadClassifier>[0]) => {
      const classifier = await loadClassifier(options);
      const answers = await classifier.classify(texts);
      await classifier.close();
      return answers;
    };
    const apart = await answersOf({ model: MINILM, adapter });
    expect(apart.map(({ label }) => label)).toEqual(["LABEL_1", "LABEL_0"]);
    const together = await answersOf({ model: merged });
    together.forEach(({ label, score }, i) => {
      expect(label).toBe(apart[i]?.label);
      expect(score).toBeCloseTo(apart[i]?.score as number, 4);
    });
  });
});

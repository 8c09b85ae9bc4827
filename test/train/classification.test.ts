import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type EvaluateOptions, type EvaluationSummary, evaluate } from "../../src/evaluate/evaluate.ts";
import { type Classification, loadClassifier } from "../../src/generate/classifier.ts";
import { loadModel } from "../../src/generate/model.ts";
import { publishedFiles } from "../../src/hub/published-files.ts";
import { convertAdapter } from "../../src/peft/files/convert.ts";
import { mergeAdapter } from "../../src/peft/merge/merge.ts";
import { random } from "../../src/tensor/random.ts";
import type { TrainOptions } from "../../src/train/config/config.ts";
import { encoderFolder } from "../models/encoders.ts";
import { readTensors } from "../models/harness.ts";
import { adapterHashes, eventsOf, type Lab, openLab, runAll, runUntil, tinyModel } from "./tiny-run.ts";

const OPINIONS = { bad: ["dull", "awful", "badly"], good: ["great", "wonderful", "pleasure"] };
const FILLERS = [
  "the",
  "film",
  "was",
  "a",
  "story",
  "first",
  "last",
  "minute",
  "music",
  "script",
  "and",
  "from",
];

/** Sentences of fillers with two words of one opinion somewhere. */
function rows(count: number, stream: string): string {
  const generator = random(1, stream);
  const pick = <T>(list: readonly T[]): T => list[generator.uint32() % list.length] as T;
  const row = (i: number): string => {
    const label = i % 2 === 0 ? "bad" : "good";
    const words = Array.from({ length: 3 + (generator.uint32() % 6) }, () => pick(FILLERS));
    const said = [0, 1].map(() => ({ at: generator.uint32(), word: pick(OPINIONS[label]) }));
    for (const { at, word } of said) words.splice(at % (words.length + 1), 0, word);
    return `${JSON.stringify({ text: words.join(" "), label })}\n`;
  };
  return Array.from({ length: count }, (_, i) => row(i)).join("");
}

let lab: Lab;
let data: string;
let held: string;
beforeAll(async () => {
  lab = openLab();
  [data, held] = [lab.path("train-labels.jsonl"), lab.path("test-labels.jsonl")];
  await writeFile(data, rows(240, "train"));
  await writeFile(held, rows(120, "test"));
});
afterAll(() => lab.remove());

function run(model: string, output: string, options: TrainOptions = {}): TrainOptions {
  return {
    ...{ model: encoderFolder(model), data: [data], testData: [held], output: lab.path(output) },
    ...{ rank: 8, alpha: 16, learningRate: 1e-2, batchSize: 16, epochs: 12, maxLength: 40, warmupSteps: 5 },
    ...{ samples: 2, threads: 2, offline: true },
    ...options,
  };
}

async function summaryOf(options: EvaluateOptions): Promise<EvaluationSummary> {
  for await (const event of evaluate({ offline: true, threads: 2, maxLength: 40, ...options }))
    if (event.type === "result") return event;
  throw new Error("no result");
}

/** Evaluations of a run on the test rows, before and after. */
async function learned(options: TrainOptions) {
  const events = await runAll(options);
  const [before, after] = eventsOf(events, "evaluation");
  if (!before || !after) throw new Error("no evaluations");
  return { before, after, events };
}

// Chance is 0.5; a fixed seed reaches 0.975, rounding on another machine moves that by a row or two.
const CHANCE = 0.65;
const LEARNED = 0.9;

describe("a roberta without a head learns to classify", () => {
  let folder: string;
  let adapter: string;
  let result: Awaited<ReturnType<typeof learned>>;
  beforeAll(async () => {
    folder = lab.path("learned");
    adapter = join(folder, "adapter");
    result = await learned(run("roberta-masked", "learned"));
  }, 120_000);

  test("accuracy on held-out rows rises from chance", () => {
    const { before, after, events } = result;
    expect(before.accuracy).toBeLessThan(CHANCE);
    expect(after.accuracy).toBeGreaterThan(LEARNED);
    expect(after.loss).toBeLessThan(before.loss / 2);
    expect(Object.keys(after)).toEqual(expect.arrayContaining(["f1", "f1Macro", "matthews"]));
    expect(after.perplexity).toBeUndefined();
    expect(eventsOf(events, "plan")[0]).toMatchObject({
      task: "classification",
      labels: ["bad", "good"],
      lossUnit: "nats per example",
    });
    expect(eventsOf(events, "plan")[0]?.tokensPerEpoch.trie).toBeGreaterThan(0);
    const samples = eventsOf(events, "samples")[1]?.samples ?? [];
    expect(samples.map(({ output }) => ["bad", "good"].includes(output))).toEqual([true, true]);
  });

  test("the adapter is one of PEFT for sequence classification, with the head and its labels", async () => {
    const config = JSON.parse(await readFile(join(adapter, "adapter_config.json"), "utf8"));
    expect(config).toMatchObject({ task_type: "SEQ_CLS", modules_to_save: ["classifier"] });
    expect(config.target_modules).toEqual(["query", "value"]);
    const tensors = await readTensors(join(adapter, "adapter_model.safetensors"));
    const head = [...tensors].filter(([key]) => key.includes("classifier"));
    expect(head.map(([key, { shape }]) => [key, ...shape])).toEqual([
      ["base_model.model.classifier.dense.bias", 32],
      ["base_model.model.classifier.dense.weight", 32, 32],
      ["base_model.model.classifier.out_proj.bias", 2],
      ["base_model.model.classifier.out_proj.weight", 2, 32],
    ]);
    expect(JSON.parse(await readFile(join(adapter, "labels.json"), "utf8"))).toEqual({
      labels: ["bad", "good"],
      kind: "classes",
    });
  });

  test("its card says how to classify, in what the losses are, and the labels", async () => {
    const card = await readFile(join(adapter, "README.md"), "utf8");
    expect(card).toContain("pipeline_tag: text-classification\n");
    expect(card).toMatch(/\| test loss after \| [\d.]+ nats per example \|/);
    expect(card).toContain("| labels | bad, good |");
    expect(card).toContain("| targetModules | query, value |");
    expect(card).toContain('import { loadClassifier } from "lowrank";');
    expect(card).toContain("AutoPeftModelForSequenceClassification.from_pretrained");
    expect(card).toContain("num_labels=2");
    expect(card).not.toContain("lowrank generate");
  });

  test("the labels are among the planned bytes and the published files", async () => {
    const [plan] = eventsOf(result.events, "plan");
    const [done] = eventsOf(result.events, "done");
    expect(done?.measured.adapterBytes).toBe(plan?.resources.adapterBytes);
    expect((await publishedFiles(folder)).map((f) => f.path)).toContain("labels.json");
  });

  test("several adapters on one encoder are refused: each has a head of its own", async () => {
    const choice = { model: encoderFolder("roberta-masked"), adapters: { a: adapter, b: adapter } };
    const refused = /a, b: expected one adapter, got 2: each brings its own labels and head/;
    await expect(summaryOf({ ...choice, data: [held] })).rejects.toThrow(refused);
    await expect(loadClassifier({ ...choice, offline: true })).rejects.toThrow(refused);
    await expect(mergeAdapter({ ...choice, output: lab.path("both"), offline: true })).rejects.toThrow(
      refused,
    );
  });

  test("in use by name, it answers as it does alone", async () => {
    const model = encoderFolder("roberta-masked");
    const alone = await loadClassifier({ model, adapter, offline: true, threads: 1 });
    const named = await loadClassifier({
      ...{ model, adapters: { films: adapter }, weights: { films: 1 } },
      ...{ offline: true, threads: 1 },
    });
    expect(await named.classify(["a great film"])).toEqual(await alone.classify(["a great film"]));
    expect(named.adapter?.path).toBe(alone.adapter?.path);
    await alone.close();
    await named.close();
    await expect(
      loadClassifier({ model, adapters: { films: adapter }, weights: { films: 0.5 }, offline: true }),
    ).rejects.toThrow(/films: it also trains classifier\.\S+ whole, .* expected 1, got 0\.5/);
  });

  test("evaluated, it measures what the run did", async () => {
    const summary = await summaryOf({
      model: encoderFolder("roberta-masked"),
      adapter: folder,
      data: [held],
    });
    const { loss, accuracy, f1, f1Macro, matthews } = result.after;
    expect(summary).toMatchObject({ task: "classification", examples: 120, accuracy, f1, f1Macro, matthews });
    expect(summary.loss).toBeCloseTo(loss, 5);
  });

  test("merged, it is a model with a head that answers the same", async () => {
    const output = lab.path("merged");
    const model = encoderFolder("roberta-masked");
    const merged = await mergeAdapter({ model, adapter, output, offline: true });
    expect(merged.changedWeights).toBe(8);
    expect(merged.maxLogitDifference).toBeLessThan(1e-5);
    const config = JSON.parse(await readFile(join(output, "config.json"), "utf8"));
    expect(config).toMatchObject({
      architectures: ["RobertaForSequenceClassification"],
      id2label: { 0: "bad", 1: "good" },
      problem_type: "single_label_classification",
    });
    const inputs = ["the film was great and a pleasure", ["awful music", "dull script"]] as const;
    const answers = [];
    for (const options of [{ model, adapter }, { model: output }]) {
      const classifier = await loadClassifier({ ...options, offline: true, threads: 1 });
      expect(classifier.labels).toEqual(["bad", "good"]);
      answers.push(await classifier.classify(inputs));
      await classifier.close();
    }
    const [apart, together] = answers as [Classification[], Classification[]];
    expect(apart.map(({ label }) => label)).toEqual(["good", "bad"]);
    apart.forEach(({ scores }, i) => {
      expect((scores.bad as number) + (scores.good as number)).toBeCloseTo(1, 6);
      expect(together[i]?.scores.good).toBeCloseTo(scores.good as number, 5);
    });
  });

  test("interrupted and resumed, it ends with the same bytes", async () => {
    const options = run("roberta-masked", "resumed");
    await runUntil(options, (event) => event.type === "step" && event.step === 40);
    await runAll({ ...options, resume: lab.path("resumed") });
    expect(await adapterHashes(lab.path("resumed"))).toEqual(await adapterHashes(folder));
  });
});

test("a bert without a pooler trains and saves that too", async () => {
  const { after } = await learned(run("bert-masked", "pooler", { method: "dora", epochs: 8 }));
  expect(after.accuracy).toBeGreaterThan(CHANCE);
  const tensors = await readTensors(join(lab.path("pooler"), "adapter", "adapter_model.safetensors"));
  expect([...tensors.keys()]).toContain("base_model.model.bert.pooler.dense.weight");
  const output = lab.path("merged-bert");
  const model = encoderFolder("bert-masked");
  await mergeAdapter({ model, adapter: lab.path("pooler"), output, offline: true });
  const summary = await summaryOf({ model: output, data: [held] });
  expect(summary.accuracy).toBe(after.accuracy);
});

test("values are learned as such: how many good words there are, less the bad", async () => {
  const words = [...OPINIONS.bad, ...OPINIONS.good];
  const scored = (count: number, stream: string): string => {
    const generator = random(2, stream);
    const row = (): string => {
      const said = Array.from({ length: 4 }, () => words[generator.uint32() % words.length] as string);
      const score = said.reduce((n, word) => n + (OPINIONS.good.includes(word) ? 0.5 : -0.5), 0.25);
      return `${JSON.stringify({ sentence1: said.join(" "), sentence2: "the film", label: score })}\n`;
    };
    return Array.from({ length: count }, row).join("");
  };
  const [train, held] = [lab.path("values.jsonl"), lab.path("held-values.jsonl")];
  await writeFile(train, scored(200, "train"));
  await writeFile(held, scored(80, "test"));
  const { before, after, events } = await learned(
    run("roberta-masked", "values", { data: [train], testData: [held], epochs: 10 }),
  );
  expect(eventsOf(events, "plan")[0]).toMatchObject({ task: "regression", lossUnit: "mean squared error" });
  expect(after.loss).toBeLessThan(before.loss / 2);
  expect(after.pearson).toBeGreaterThan(0.8);
  expect(after.spearman).toBeGreaterThan(0.8);
  const options = { model: encoderFolder("roberta-masked"), adapter: lab.path("values"), offline: true };
  const classifier = await loadClassifier({ ...options, threads: 1 });
  expect(classifier.kind).toBe("value");
  const [good, bad] = await classifier.classify([
    ["great great wonderful pleasure", "the film"],
    ["dull awful awful badly", "the film"],
  ]);
  await classifier.close();
  expect(good?.score).toBeGreaterThan(bad?.score as number);
  expect(good?.label).toBe(String(Number(good?.score.toPrecision(6))));
});

describe("what cannot be", () => {
  const failure = (options: TrainOptions): Promise<unknown> =>
    runAll(options).then(
      () => "no error",
      (error) => error.message,
    );

  test("labels that the model does not know, with file and line", async () => {
    const odd = lab.path("odd.jsonl");
    await writeFile(odd, '{"text": "a", "label": "good"}\n{"text": "b", "label": "godo"}\n{"text": "c"}\n');
    expect(await failure(run("roberta", "odd", { data: [odd] }))).toBe(
      `The data cannot be used (1 problem)\n  ${odd}:3: no field "label"; the record has "text"`,
    );
    await writeFile(odd, '{"text": "a", "label": "good"}\n{"text": "b", "label": "godo"}\n');
    expect(await failure(run("roberta", "odd", { data: [odd] }))).toBe(
      `The data cannot be learned from (1 problem)\n  ${odd}:2: unknown label "godo"; known: bad (0), fair (1), good (2)`,
    );
    const unseen = lab.path("unseen.jsonl");
    await writeFile(unseen, '{"text": "a", "label": "odd"}\n');
    expect(await failure(run("roberta-masked", "unseen", { testData: [unseen] }))).toBe(
      `The data cannot be learned from (1 problem)\n  ${unseen}:1: unknown label "odd"; known: bad (0), good (1)`,
    );
  });

  test("rows without labels, one label, tasks and methods that do not fit", async () => {
    expect(await failure(run("roberta", "chat", { data: [lab.data], testData: null }))).toMatch(
      /jsonl:1: has no label/,
    );
    const same = lab.path("same.jsonl");
    await writeFile(same, '{"text": "a", "label": "good"}\n');
    expect(await failure(run("roberta-masked", "same", { data: [same] }))).toMatch(/got only "good"/);
    expect(await failure(run("roberta", "task", { task: "language-modelling" }))).toBe(
      "RobertaForSequenceClassification cannot be trained for language-modelling; it can for: regression, classification",
    );
    expect(await failure(run("roberta", "prefix", { method: "lora+prefix-tuning" }))).toMatch(
      /^prefix-tuning cannot be used on RobertaForSequenceClassification/,
    );
    expect(await failure(run("roberta", "vera", { method: "vera" }))).toMatch(
      /modulesToSave: vera does not have it, and an encoder's head \(classifier\) needs it/,
    );
    expect(await failure(run("roberta", "grouped", { groupByPrefix: true }))).toMatch(
      /groupByPrefix: nothing is shared in classification: each example is computed whole/,
    );
    const decoder = { ...run("roberta", "decoder"), model: tinyModel("llama") };
    expect(await failure({ ...decoder, task: "classification" })).toBe(
      "LlamaForCausalLM cannot be trained for classification; it can for: language-modelling",
    );
  });

  test("generating with an encoder, classifying with a decoder or without a head", async () => {
    const open = { offline: true, threads: 1 };
    await expect(loadModel({ model: encoderFolder("bert"), ...open })).rejects.toThrow(/is an encoder/);
    await expect(loadClassifier({ model: tinyModel("llama"), ...open })).rejects.toThrow(/is a decoder/);
    await expect(loadClassifier({ model: encoderFolder("bert-masked"), ...open })).rejects.toThrow(
      /has no head to classify with; one comes with training:\n {2}bert\.pooler\.dense\.weight: is not in the model/,
    );
    await expect(
      summaryOf({ model: encoderFolder("roberta"), data: [held], generate: true }),
    ).rejects.toThrow(/generates no text/);
  });
});

test("converted, an adapter keeps its labels", async () => {
  const three = lab.path("three.jsonl");
  await writeFile(three, rows(30, "three").replaceAll('"good"', '"neutral"') + rows(30, "more"));
  await runAll(run("roberta-masked", "three", { data: [three], maxSteps: 2 }));
  const [model, output] = [encoderFolder("roberta-masked"), lab.path("three-copy")];
  await convertAdapter({ adapter: lab.path("three"), to: "peft", output, offline: true });
  const classifier = await loadClassifier({ model, adapter: output, offline: true, threads: 1 });
  expect(classifier.labels).toEqual(["bad", "good", "neutral"]);
  await classifier.close();
});

test("held-out rows whose labels are hidden (-1) are left out, with a warning", async () => {
  const [train, hidden] = [lab.path("numbers.jsonl"), lab.path("hidden.jsonl")];
  const numbered = rows(20, "numbers").replaceAll('"bad"', "0").replaceAll('"good"', "1");
  await writeFile(train, numbered);
  await writeFile(hidden, numbered.replaceAll('"label":1', '"label":-1'));
  const options = { data: [train], testData: [hidden], maxSteps: 1 };
  const events = await runAll(run("roberta-masked", "hidden", options));
  const warnings = eventsOf(events, "warning").map(({ message }) => message);
  expect(warnings).toContain("10 of 20 test rows have no label (-1) and are left out");
  expect(eventsOf(events, "evaluation")[0]?.labelTokens).toBe(10);
  expect(eventsOf(events, "plan")[0]?.labels).toEqual(["LABEL_0", "LABEL_1"]);
});

test("a decoder takes labelled texts as text", async () => {
  const options = { ...run("roberta", "text"), model: tinyModel("llama"), maxSteps: 2, maxLength: 128 };
  const events = await runAll(options);
  expect(eventsOf(events, "plan")[0]?.task).toBe("language-modelling");
  expect(eventsOf(events, "evaluation")[0]?.perplexity).toBeGreaterThan(1);
});

test("PEFT's adapter without names of labels, and one of another size than the model's head", async () => {
  const adapter = join(encoderFolder("score"), "adapter");
  const classifier = await loadClassifier({
    model: encoderFolder("roberta"),
    adapter,
    offline: true,
    threads: 1,
  });
  expect([classifier.kind, classifier.labels]).toEqual(["value", ["LABEL_0"]]);
  await classifier.close();
});

import { afterAll, beforeAll, expect, test } from "vitest";
import type { LoadedModel } from "../../src/generate/loaded.ts";
import { loadModel } from "../../src/generate/model.ts";
import { encodePrompt } from "../../src/text/chat-encode.ts";
import { distFile, runNode } from "../cli/run-cli.ts";
import { ADAPTER, type Answer, answers, hasFixtureWeights, MODEL } from "./smollm2.ts";

let model: LoadedModel;
let isComparable: boolean;
beforeAll(async () => {
  model = await loadModel({ model: MODEL, contextLength: 256 });
  isComparable = await hasFixtureWeights(model.base);
});
afterAll(() => model?.close());

async function expectAnswer({ messages, ids, ended }: Answer): Promise<void> {
  const result = await model.generateText({ messages, maxTokens: 48 });
  expect(result.ids).toEqual(ids);
  expect(result.finishReason).toBe(ended ? "end" : "length");
}

test("prompts have transformers' ids", () => {
  for (const { messages, prompt } of [...answers.base, ...answers.adapter])
    expect(encodePrompt(model.base, messages).ids).toEqual(prompt);
});

test("greedy answers are transformers', token for token, on 20 prompts", async ({ skip }) => {
  if (!isComparable) skip(`${model.base.source.path} has other weights than the fixture`);
  expect(answers.base).toHaveLength(20);
  for (const answer of answers.base) await expectAnswer(answer);
});

test("with an adapter they are PEFT's, apart and merged; without it the base's again", async ({ skip }) => {
  if (!isComparable) skip(`${model.base.source.path} has other weights than the fixture`);
  const prompt = answers.base[0]?.prompt as number[];
  const base = await model.logits(prompt);
  await model.swap(ADAPTER);
  for (const answer of answers.adapter) await expectAnswer(answer);
  const apart = await model.logits(prompt);
  await model.merge();
  for (const answer of answers.adapter) await expectAnswer(answer);
  const merged = await model.logits(prompt);
  const flat = (rows: readonly Float32Array[]): number[] => rows.flatMap((row) => Array.from(row));
  const [x, y] = [flat(apart), flat(merged)];
  const largest = x.reduce((max, v) => Math.max(max, Math.abs(v)), 0);
  const difference = x.reduce((max, v, i) => Math.max(max, Math.abs(v - (y[i] as number))), 0);
  // The same sums in another order, float32. Seen: 1.1e-4 on logits up to 40. PEFT's own merge of a trained adapter moves
  // PyTorch's logits by 1.4e-4.
  expect(difference / largest).toBeLessThan(1e-5);
  await model.unmerge();
  expect(await model.logits(prompt)).toEqual(apart);
  await model.swap(null);
  expect(await model.logits(prompt)).toEqual(base);
});

test("a second process needs no network", async () => {
  const guard = `import { Socket } from "node:net";
    Socket.prototype.connect = () => { throw new Error("reached for the network"); };`;
  const args = ["generate", "What is the capital of France?", "--max-tokens", "8"];
  const ran = await runNode([
    "--import",
    `data:text/javascript,${encodeURIComponent(guard)}`,
    distFile("cli/main.js"),
    ...args,
  ]);
  expect(ran).toMatchObject({ exitCode: 0, stderr: "" });
  if (isComparable) expect(ran.stdout).toBe("The capital of France is Paris.\n");
});

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { loadModel } from "../../src/generate/model.ts";
import { exportModel } from "../../src/peft/merge/merge.ts";
import { openPipeline } from "../peft/merge/transformers-js.ts";
import { MODEL } from "./smollm2.ts";

let output: string;
beforeAll(async () => {
  output = join(await mkdtemp(join(tmpdir(), "lowrank-onnx-")), "model");
});
afterAll(() => rm(join(output, ".."), { recursive: true }));

test("SmolLM2 answers in transformers.js as here, token by token; in 4 bits as in floats", async () => {
  const { variants } = await exportModel({ model: MODEL, output, format: "onnx", variants: ["fp32", "q4"] });
  const [fp32, q4] = variants;
  expect(fp32?.maxDifference).toBeLessThan(1e-4); // seen: 0
  expect(q4?.maxDifference).toBeLessThan(3); // seen: 1.3, of logits up to 30
  const messages = [{ role: "user" as const, content: "What is the capital of France?" }];
  const ours = await loadModel({ model: MODEL });
  const { text } = await ours.generateText({ messages, maxTokens: 32, temperature: 0 });
  await ours.close();
  for (const dtype of ["fp32", "q4"] as const) {
    const generator = await openPipeline("text-generation", output, dtype);
    const [answer] = (await generator(messages, { max_new_tokens: 32, do_sample: false })) as unknown as [
      { generated_text: { content: string }[] },
    ];
    expect(answer.generated_text.at(-1)?.content).toBe(text);
    await generator.dispose();
  }
});

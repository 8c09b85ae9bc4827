import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { TrainOptions } from "../../src/train/config/config.ts";
import { hasChromium, launch } from "../chromium.ts";
import { expectClose, expectSameLogits, type Lab, losses, openLab } from "./lab.ts";
import type { PageScript } from "./page-script.ts";

const isThere = hasChromium("lowrank/browser");

/** Relative: sums are in another order where WebAssembly has other vectors than the processor. */
const LOSS_TOLERANCE = 1e-6;

const OPTIONS: TrainOptions = {
  ...{ epochs: 1, batchSize: 6, learningRate: 0.02, rank: 4, seed: 3, samples: 1 },
  targetModules: ["q_proj", "v_proj", "down_proj"],
};

describe.skipIf(!isThere)("a page in Chromium, by WebAssembly", () => {
  let lab: Lab;
  let browser: Browser;
  beforeAll(async () => {
    lab = await openLab();
    browser = await launch();
  });
  afterAll(async () => {
    await browser.close();
    await lab.close();
  });

  test("trains as Node does, and its adapter gives the same logits there", async () => {
    const expected = await lab.trainInNode(OPTIONS);
    const result = await lab.run(browser, "wasm", OPTIONS);
    expectClose(losses(result.events), losses(expected), LOSS_TOLERANCE);
    expect(result.events.at(-1)).toMatchObject({ type: "done", steps: 4 });
    expect(Object.keys(result.adapter).sort()).toEqual(["adapter_config.json", "adapter_model.safetensors"]);
    expectSameLogits(result.logits, await lab.logitsInNode(result.adapter, "adapter"));
    expectSameLogits(result.logits, await lab.logitsInNode(result.model, "model"));
    expectSameLogits(result.merged, result.logits);
    expect(result.base).not.toEqual(result.logits); // the adapter does something
    expect(result.preview[0]?.map(({ text, isLabel }) => [text, isLabel])).toEqual([
      ["<|im_start|>user\nWhich number follows 0?<|im_end|>\n<|im_start|>assistant\n", false],
      ["It is 1.<|im_end|>\n", true],
    ]);
  });

  test("a model fetched into the browser's own files is not asked for again, nor converted", async () => {
    const [first, second] = await lab.onPage(browser, (page) =>
      page.evaluate(async () => {
        const { fetched } = (globalThis as unknown as PageScript).inPage;
        return [await fetched("/models/llama-sharded"), await fetched("/models/llama-sharded")];
      }),
    );
    expect(first?.files).toEqual(expect.arrayContaining(["config.json", "model.safetensors.index.json"]));
    expect(first?.requests).toBeGreaterThan(4);
    expect(first?.converted).toBe(true);
    expect(second).toEqual({ ...first, requests: 0, converted: false });
  });

  test("options that have no place in a page, data that are none and devices that are unknown are refused", async () => {
    const messages = await lab.onPage(browser, (page) =>
      page.evaluate(() => (globalThis as unknown as PageScript).inPage.refused()),
    );
    expect(messages).toEqual([
      "the training options do not hold:\n  output: is no option of training in a page\n  profile: is no option of training in a page",
      "The data cannot be used (1 problem)\n  rows.jsonl:1: not valid JSON: Unexpected token 'o', \"no JSON\" is not valid JSON",
      'unknown device "cpu"; a browser has: wasm, webgpu',
      "The model cannot be opened\n  model: expected a Hugging Face folder with config.json, or one .gguf file; found notes.txt",
      "cannot write notes.txt: it can only be read",
    ]);
  });
});

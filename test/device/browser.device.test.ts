import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { TrainOptions } from "../../src/train/config/config.ts";
import { expectClose, expectSameLogits, type Lab, losses, openLab } from "../browser/lab.ts";
import { hasChromium, launch } from "../chromium.ts";

const isThere = hasChromium("lowrank/browser by WebGPU");

/** Relative: WebGPU sums in yet another order. */
const LOSS_TOLERANCE = 1e-5;
const OPTIONS: TrainOptions = { batchSize: 6, maxSteps: 3, learningRate: 0.02, rank: 4, seed: 3, samples: 0 };

describe.skipIf(!isThere)("a page in Chromium, by WebGPU on a software device", () => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await openLab();
  });
  afterAll(() => lab.close());

  // Most of its time goes to compiling shaders.
  test("trains as Node's CPU does, and its adapter gives the same logits there", async () => {
    const browser = await launch(["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"]);
    try {
      const result = await lab.run(browser, "webgpu", OPTIONS);
      expectClose(losses(result.events), losses(await lab.trainInNode(OPTIONS)), LOSS_TOLERANCE);
      expectSameLogits(result.logits, await lab.logitsInNode(result.adapter, "adapter"));
      expectSameLogits(result.merged, result.logits);
      expect(result.base).not.toEqual(result.logits);
    } finally {
      await browser.close();
    }
  }, 300_000);
});

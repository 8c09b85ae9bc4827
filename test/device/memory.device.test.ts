import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { TrainOptions } from "../../src/train/config/config.ts";
import { train } from "../../src/train/trainer.ts";
import { type Lab, openLab, statefulRun } from "../train/tiny-run.ts";
import { whyNot } from "./there.ts";

const reason = await whyNot("webgpu");
let lab: Lab;
beforeAll(() => {
  lab = openLab();
});
afterAll(() => lab.remove());

const STEPS = 1000;
const SMALL = {
  ...{ samples: 0, checkpointEvery: null, evalEvery: null, maxSteps: STEPS, schedule: "constant" },
  ...{ batchSize: 1, accumulation: 1, dropout: 0, rank: 128 },
} satisfies TrainOptions;
/** Steps after which pools are filled and programs compiled. */
const SETTLED = 300;
/** What JavaScript's own memory moves by: 2 to 3 MB in 100 steps were seen. Parameters and moments of 131 kB each that every step
 *  left would be 275 MB. */
const LIMIT_BYTES = 60e6;

// The memory of Mesa's software driver is the process's own.
describe.skipIf(reason !== null)(`memory${reason ? `: ${reason}` : ""}`, () => {
  test("a thousand steps leave nothing behind", async () => {
    const options = { ...statefulRun(lab, "memory"), ...SMALL };
    let settled = 0;
    let last = 0;
    for await (const event of train({ ...options, device: "webgpu", testData: null, validationData: null })) {
      if (event.type !== "step") continue;
      if (event.step === SETTLED) settled = process.memoryUsage.rss();
      last = process.memoryUsage.rss();
      if (process.env.DEVICE_MEMORY && event.step % 100 === 0)
        console.log(event.step, (last / 1e6).toFixed(1));
    }
    expect(settled).toBeGreaterThan(0);
    expect(last - settled).toBeLessThan(LIMIT_BYTES);
  }, 900_000);
});

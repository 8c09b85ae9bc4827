import { expect, test } from "vitest";
import { resultsCsv } from "../../../src/server/jobs/results.ts";
import type { MetricsEvent } from "../../../src/train/metrics-log.ts";

test("columns of nothing that was measured are left out", () => {
  const step = { type: "step", step: 1, loss: 2.5 } as MetricsEvent;
  expect(resultsCsv([step])).toBe("step,train_loss\n1,2.5\n");
  const other = { type: "evaluation", split: "test", step: 1, loss: 1 } as MetricsEvent;
  expect(resultsCsv([other])).toBe("step\n");
  const classes = {
    type: "evaluation",
    split: "validation",
    step: 1,
    loss: 1,
    accuracy: 0.5,
  } as MetricsEvent;
  expect(resultsCsv([step, classes])).toBe("step,train_loss,valid_loss,valid_accuracy\n1,2.5,1,0.5\n");
});

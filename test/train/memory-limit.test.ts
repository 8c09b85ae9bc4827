import { existsSync } from "node:fs";
import { expect, test } from "vitest";
import { trainConfig } from "../../src/train/config/config.ts";
import type { PlanEvent } from "../../src/train/events.ts";
import { checkMemory, type LimitedRun } from "../../src/train/memory-limit.ts";
import type { TrainRunOptions } from "../../src/train/trainer.ts";
import { openLab, runAll, statefulRun } from "./tiny-run.ts";

const GIB = 2 ** 30;

/** Takes 1 GiB, and for each example 1 GiB, of which levels of computing again leave a half and a quarter. */
function run(batchSize: number, recompute: LimitedRun["recompute"] = "none"): LimitedRun {
  const kept = { none: 1, cheap: 0.5, layer: 0.25 };
  const bytesAt: LimitedRun["bytesAt"] = (size, level) => GIB * (1 + size * kept[level]);
  return { batchSize, accumulation: 2, recompute, memoryBytes: bytesAt(batchSize, recompute), bytesAt };
}

test("what would fit keeps the batch, then halves it", () => {
  expect(() => checkMemory(run(8), 9 * GIB)).not.toThrow();
  const refusal = (limit: number, one = run(8)): string => {
    try {
      checkMemory(one, limit * GIB);
    } catch (error) {
      expect(error).toMatchObject({ code: "memory_limit" });
      return (error as Error).message;
    }
    return "";
  };
  expect(refusal(6)).toBe(
    'the run would take about 9 GiB of memory, and may take 6 GiB: recompute "cheap" takes about 5 GiB',
  );
  expect(refusal(2)).toContain('batchSize 4 and accumulation 4 with recompute "layer" takes about 2 GiB');
  expect(refusal(1)).toContain(
    "one example at a time, with as much as possible computed again, still takes about 1.25 GiB",
  );
  expect(refusal(1, run(1, "layer"))).toContain(": a lower maxLength or rank");
});

test("a run that may not take what it would is refused and leaves nothing; one that may computes again what it must", async () => {
  const lab = openLab();
  try {
    const options = { ...statefulRun(lab, "run"), maxSteps: 1, samples: 0 };
    await expect(runAll(options, { limitBytes: 2e8 })).rejects.toMatchObject({ code: "memory_limit" });
    expect(existsSync(lab.path("run"))).toBe(false);
    const plans: PlanEvent[] = [];
    const planned = async (output: string, limits: TrainRunOptions): Promise<void> => {
      const events = await runAll({ ...options, output: lab.path(output) }, limits);
      plans.push(...events.filter((event) => event.type === "plan"));
    };
    await planned("free", {});
    const bytes = plans[0]?.resources.memoryBytes ?? 0;
    await planned("bound", { limitBytes: bytes - 1 });
    expect(plans.map(({ recompute }) => recompute)).toEqual(["none", "cheap"]);
    expect(plans[1]?.resources.memoryBytes).toBeLessThan(bytes);
  } finally {
    lab.remove();
  }
}, 60_000);

test("the memory of a device is the limit of a run on it, and no option of the CPU's", async () => {
  expect(() => trainConfig({ deviceMemory: 8 })).toThrow(
    "has no effect with device cpu, whose memory is the machine's",
  );
  expect(trainConfig({ deviceMemory: 8, device: "webgpu" }).deviceMemory).toBe(8);
  const lab = openLab();
  try {
    const options = { ...statefulRun(lab, "run"), device: "webgpu", dryRun: true } as const;
    await expect(runAll({ ...options, deviceMemory: 0.1 })).rejects.toMatchObject({ code: "memory_limit" });
  } finally {
    lab.remove();
  }
}, 60_000);

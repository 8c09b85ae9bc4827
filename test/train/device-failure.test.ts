import { expect, test } from "vitest";
import { RuntimeError, TrainingError } from "../../src/errors.ts";
import { deviceFault } from "../../src/runtime/fault.ts";
import { trainConfig } from "../../src/train/config/config.ts";
import { deviceFailure } from "../../src/train/device-failure.ts";
import { folderStore } from "../../src/train/folder-store.ts";
import type { RunPlan } from "../../src/train/plan.ts";
import { eventsOf, openLab, runAll, statefulRun } from "./tiny-run.ts";

/** As ONNX Runtime 1.30 and Dawn said them on Mesa's software driver. */
const BINDING =
  "webgpu: Non-zero status code returned while running MatMul node. Status Message: shader_helper.cc:306 numbers_storage_buffers_ <= limits_.maxStorageBuffersPerShaderStage was false. Too many storage buffers in shader. Current: 20, Max is 16\nmore";
const FULL = "WebGPU device error(3): vkCreateBuffer failed with VK_ERROR_OUT_OF_DEVICE_MEMORY";

test("faults are told from what engines say, and from nothing else", () => {
  expect(deviceFault(BINDING)).toBe("binding");
  expect(deviceFault(FULL)).toBe("memory");
  expect(deviceFault("CUDA error: out of memory")).toBe("memory");
  expect(deviceFault("A valid external Instance reference no longer exists. Device was lost")).toBe("lost");
  expect(deviceFault("DXGI_ERROR_DEVICE_REMOVED")).toBe("lost");
  expect(deviceFault("the session is closed")).toBeNull();
});

test("a step that a device fails says what is kept, what takes less and how to go on", () => {
  const run = (
    options: Parameters<typeof trainConfig>[0],
    recompute: RunPlan["recompute"],
    savedStep = 4,
  ) => ({
    config: trainConfig(options),
    plan: { recompute } as RunPlan,
    savedStep,
    store: folderStore("runs/one"),
  });
  const failed = deviceFailure(run({ batchSize: 8, accumulation: 2 }, "none"), 7, new RuntimeError(BINDING));
  expect(failed).toBeInstanceOf(TrainingError);
  expect((failed as Error).message).toBe(
    "step 7: a tensor is larger than the device's shaders take; stopped, the checkpoint of step 4 is kept. Go on with less " +
      "memory: lowrank train --resume runs/one --recompute layer. A new run takes less with batchSize 4 with accumulation 4, baseBits 8 or 4, " +
      "a lower maxLength. " +
      `The engine says: ${BINDING.split("\n")[0]}`,
  );
  const smallest = run({ batchSize: 1, baseBits: 4 }, "layer", -1);
  const { message } = deviceFailure(smallest, 1, new RuntimeError(FULL)) as Error;
  expect(message).toContain(
    "no checkpoint was written yet. A new run takes less with a lower maxLength. The",
  );
  const lost = deviceFailure(smallest, 1, new RuntimeError("Device lost")) as Error;
  expect(lost.message).toContain("Go on with: lowrank train --resume runs/one. The engine says: Device lost");
  const other = new RuntimeError("the session is closed");
  expect(deviceFailure(smallest, 1, other)).toBe(other);
});

test("a run on whichever device is best says in one line which that is, and why", async () => {
  const lab = openLab();
  try {
    const events = await runAll({ ...statefulRun(lab, "run"), device: "auto", dryRun: true });
    const messages = eventsOf(events, "warning").map(({ message }) => message);
    const lines = messages.filter((message) => message.startsWith("--device auto takes "));
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(/takes \w+: \w/);
    expect(eventsOf(events, "plan")).toHaveLength(1);
  } finally {
    lab.remove();
  }
}, 180_000);

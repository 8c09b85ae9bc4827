import { rm } from "node:fs/promises";
import { afterAll, beforeEach, expect, test, vi } from "vitest";
import { LowrankError, TrainingError } from "../../src/errors.ts";
import { newestCheckpoint } from "../../src/train/checkpoint.ts";
import { adapterHashes, openLab, runAll, statefulRun } from "./tiny-run.ts";

/** Paths that the disk has no room for. */
const full = vi.hoisted(() => ({ path: /^$/ as RegExp }));

function noSpace(): Error {
  return Object.assign(new Error("ENOSPC: no space left on device, write"), {
    code: "ENOSPC",
    syscall: "write",
  });
}

vi.mock("node:fs/promises", async (original) => {
  const fs = await original<typeof import("node:fs/promises")>();
  const open: typeof fs.open = async (path, ...rest) => {
    const handle = await fs.open(path, ...rest);
    const fail = async (): Promise<never> => {
      throw noSpace();
    };
    return full.path.test(String(path)) ? Object.assign(handle, { write: fail, appendFile: fail }) : handle;
  };
  return { ...fs, open, default: { ...fs, open } };
});

const lab = openLab();
afterAll(lab.remove);
beforeEach(() => {
  full.path = /^$/;
});

test.each([
  ["the adapter", /step-0000006.*adapter_model/],
  ["the optimizer's state", /step-0000006.*optimizer/],
])(
  "no room for %s of a checkpoint: the run ends, the checkpoint before stays, and a resume goes on",
  async (_what, path) => {
    await rm(lab.path("run"), { recursive: true, force: true });
    full.path = path;
    const error: unknown = await runAll({ ...statefulRun(lab, "run"), evalEvery: null }).catch((e) => e);
    expect(error).toBeInstanceOf(TrainingError);
    expect(String(error)).toMatch(
      /the checkpoint of step 6 was not written: .*: no space left on the disk; stopped, the checkpoint of step 3 is kept/,
    );
    const { checkpoint, damaged } = await newestCheckpoint(lab.path("run"));
    expect(checkpoint?.progression.step).toBe(3);
    expect(damaged).toEqual([]);
    full.path = /^$/;
    expect((await runAll({ resume: lab.path("run") })).at(-1)?.type).toBe("done");
    await rm(lab.path("whole"), { recursive: true, force: true });
    await runAll({ ...statefulRun(lab, "whole"), evalEvery: null });
    expect(await adapterHashes(lab.path("run"))).toEqual(await adapterHashes(lab.path("whole")));
  },
);

test("no room for the log: a clear error", async () => {
  full.path = /metrics\.jsonl$/;
  const error: unknown = await runAll(statefulRun(lab, "log")).catch((e) => e);
  expect(error).toBeInstanceOf(LowrankError);
  expect(String(error)).toContain(`cannot write ${lab.path("log")}/metrics.jsonl: no space left on the disk`);
});

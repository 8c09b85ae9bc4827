import type OpenAI from "openai";
import { expect, test } from "vitest";
import { defaultJobBytes } from "../../../src/server/jobs/memory.ts";
import { startProcess } from "../../../src/server/jobs/process.ts";
import { completeTrainConfig } from "../../../src/train/config/file.ts";
import { modelPath } from "../../generate/loading.ts";
import { jobServer, QUICK, rows } from "./job-server.ts";

/** By the estimate a run of the tiny model takes 220 MB and what its batches need. */
const LIMIT_BYTES = 230e6;

test("a job that would take too much is refused with what would fit; one that fits runs", async () => {
  const server = await jobServer({ jobBytes: LIMIT_BYTES });
  try {
    const { id } = await server.upload(rows(400));
    const create = (lowrank: object): Promise<OpenAI.FineTuning.FineTuningJob> =>
      server.openai.fineTuning.jobs.create({ model: "tiny", training_file: id, lowrank } as never);
    const refused = await create({ ...QUICK, batchSize: 256 }).catch((error) => error);
    expect(refused).toMatchObject({ status: 400, code: "memory_limit" });
    const fitting = /: batchSize (\d+) and accumulation (\d+) with recompute "(\w+)" takes about/.exec(
      refused.message,
    );
    const [batchSize, accumulation] = [Number(fitting?.[1]), Number(fitting?.[2])];
    expect(batchSize * accumulation).toBe(256);
    const advised = { batchSize, accumulation, recompute: fitting?.[3], maxSteps: 1 };
    expect(await create({ ...QUICK, ...advised })).toMatchObject({ status: "queued" });
  } finally {
    await server.close();
  }
}, 60_000);

test("a process that takes more than it may is ended, and its end says so", async () => {
  const started = performance.now();
  const config = await completeTrainConfig({ model: modelPath("llama"), data: ["nowhere.jsonl"] });
  // Node alone takes more, before it has read anything.
  const limitBytes = 2 ** 24;
  const process = startProcess({
    ...{ config, isResumed: false, killAfterMs: 60_000, limitBytes },
    onStart: () => undefined,
    onEvent: () => undefined,
  });
  expect(await process.ended).toEqual({
    type: "failed",
    code: "memory_limit",
    message: expect.stringMatching(
      /^the process of the job took 0\.\d+ GiB .* more than the 0\.02 GiB .* was ended/,
    ),
  });
  expect(performance.now() - started).toBeLessThan(30_000);
});

test("jobs share a part of the machine", () => {
  expect(defaultJobBytes(4)).toBe(Math.floor(defaultJobBytes(1) / 4));
  expect(defaultJobBytes(0)).toBe(defaultJobBytes(1));
});

import { writeFileSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { TrainingError } from "../../src/errors.ts";
import { checkpointPath, loadCheckpoint } from "../../src/train/checkpoint.ts";
import type { TrainOptions } from "../../src/train/config/config.ts";
import type { TrainEvent } from "../../src/train/events.ts";
import { eventsOf, type Lab, openLab, rowsText, runAll, statefulRun } from "../train/tiny-run.ts";
import { localGroup } from "./local-group.ts";

const lab: Lab = openLab();
afterAll(lab.remove);

/** Everything that has state, but dropout, whose mask depends on where an example lies in its batch. */
const plain = (output: string): TrainOptions => ({
  ...statefulRun(lab, output),
  ...{ dropout: 0, scoreAnswers: 4, samples: 2, threads: 1 },
});

interface Members {
  readonly events: readonly (readonly TrainEvent[])[];
}

/** Members of a group in this process, each with the options that `optionsOf` gives it. */
async function runTogether(
  size: number,
  optionsOf: (rank: number) => TrainOptions,
  onEvent: (rank: number, event: TrainEvent, abort: () => void) => void = () => undefined,
): Promise<Members> {
  const members = localGroup(size).map((group) => {
    const controller = new AbortController();
    return runAll(optionsOf(group.rank), {
      group,
      signal: controller.signal,
      onEvent: (event) => onEvent(group.rank, event, () => controller.abort()),
    });
  });
  return { events: await Promise.all(members) };
}

/** What was measured, of a run's events. */
function numbersOf(events: readonly TrainEvent[]) {
  return {
    losses: eventsOf(events, "step").map((s) => s.loss),
    norms: eventsOf(events, "step").map((s) => s.gradNorm),
    held: eventsOf(events, "evaluation").map((e) => e.loss),
    labels: eventsOf(events, "step").map((s) => [s.labelTokens, s.examples]),
    samples: eventsOf(events, "samples").map((s) => [s.when, s.samples, s.exactMatch]),
  };
}

/** Sums of floats in another order, after nine updates: of losses seen 5e-7 of the value, of gradient norms 1.2e-6. */
const APART = 1e-6;

function expectClose(got: readonly number[], expected: readonly number[], apart = APART): void {
  expect(got.length).toBe(expected.length);
  for (const [i, x] of expected.entries())
    expect(Math.abs((got[i] as number) - x)).toBeLessThanOrEqual(apart * Math.max(1, Math.abs(x)));
}

describe("members of a group", () => {
  test.each([2, 3, 5])(
    "%i of them train what one does: losses, labels, evaluations, answers",
    async (size) => {
      const alone = numbersOf(await runAll(plain(`alone-${size}`)));
      const { events } = await runTogether(size, () => plain(`of-${size}`));
      const first = numbersOf(events[0] ?? []);
      expectClose(first.losses, alone.losses);
      expectClose(first.held, alone.held);
      expect(first.labels).toEqual(alone.labels);
      expect(first.samples).toEqual(alone.samples);
      for (const other of events.slice(1)) expect(numbersOf(other)).toEqual(first);
      for (const own of events) expect(own.at(-1)?.type).toBe("done");
      expect(eventsOf(events[0] ?? [], "plan")[0]?.processes).toBe(size);
      expect(eventsOf(events[0] ?? [], "warning")).toEqual([]);
    },
  );

  test("encoders learn together too", async () => {
    const data = lab.path("labelled.jsonl");
    const row = (i: number): string =>
      JSON.stringify({ text: `line ${i} of ${i % 7}`, label: ["bad", "good"][i % 2] });
    writeFileSync(data, Array.from({ length: 24 }, (_, i) => `${row(i)}\n`).join(""));
    const options = (output: string): TrainOptions => ({
      ...{
        model: fileURLToPath(new URL("../fixtures/encoders/bert", import.meta.url)),
        data: [data],
        output: lab.path(output),
      },
      ...{
        task: "classification",
        rank: 2,
        batchSize: 6,
        maxSteps: 6,
        maxLength: 40,
        dropout: 0,
        threads: 1,
      },
      ...{ validationFraction: 0.25, evalEvery: 3, offline: true },
    });
    const alone = numbersOf(await runAll(options("encoder-alone")));
    const { events } = await runTogether(2, () => options("encoder-joint"));
    expectClose(numbersOf(events[0] ?? []).losses, alone.losses);
    expectClose(numbersOf(events[0] ?? []).held, alone.held);
  });

  test("a run goes on with another number of members, and with one", async () => {
    const alone = numbersOf(await runAll(plain("resumed-alone")));
    const stopAt = (step: number) => (rank: number, event: TrainEvent, abort: () => void) => {
      // Any of them may be the one that is told to stop.
      if (rank === 1 && event.type === "step" && event.step === step) abort();
    };
    const first = await runTogether(2, () => plain("resumed"), stopAt(4));
    for (const events of first.events)
      expect(events.at(-1)).toMatchObject({ type: "stopped", reason: "interrupt", step: 4 });
    expect(eventsOf(first.events[0] ?? [], "checkpoint").map((c) => c.step)).toContain(4);
    const resume = { resume: lab.path("resumed") };
    const second = await runTogether(3, () => ({ ...plain("resumed"), ...resume }), stopAt(7));
    const last = await runAll({ ...plain("resumed"), ...resume });
    const steps = [...(first.events[0] ?? []), ...(second.events[0] ?? []), ...last];
    expect(eventsOf(steps, "step").map((s) => s.step)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expectClose(numbersOf(steps).losses, alone.losses);
  });

  test("more members than examples: those without one wait", async () => {
    const data = lab.path("few.jsonl");
    writeFileSync(data, rowsText(2, 0));
    const options = (output: string): TrainOptions => ({
      ...plain(output),
      ...{ data: [data], validationData: [], testData: [], maxSteps: 3, accumulation: 1, evalEvery: null },
      ...{ scoreAnswers: 0, samples: 0 },
    });
    const alone = numbersOf(await runAll(options("few-alone")));
    const { events } = await runTogether(4, () => options("few"));
    expectClose(numbersOf(events[3] ?? []).losses, alone.losses);
  });

  test("an update that is not finite stops all at the same step, and the checkpoint before stays", async () => {
    const options = (output: string): TrainOptions => ({
      ...plain(output),
      ...{
        optimizer: "sgd",
        learningRate: 1e30,
        schedule: "constant",
        clipNorm: null,
        warmupSteps: 3,
        checkpointEvery: 1,
      },
    });
    const failures = localGroup(2).map(async (group) =>
      runAll(options("infinite"), { group }).catch((e) => e),
    );
    for (const error of await Promise.all(failures)) {
      expect(error).toBeInstanceOf(TrainingError);
      expect(error.message).toMatch(/^step [23]: /);
    }
    const steps = (await readdir(lab.path("infinite/checkpoints"))).sort();
    await loadCheckpoint(checkpointPath(lab.path("infinite"), Number(steps.at(-1)?.slice(5))));
  });

  test("one is told to stop before anything began: all end there", async () => {
    const members = localGroup(2).map((group) => {
      const controller = new AbortController();
      if (group.rank === 1) controller.abort();
      return runAll(plain("early"), { group, signal: controller.signal });
    });
    for (const events of await Promise.all(members))
      expect(events).toEqual([{ type: "stopped", reason: "interrupt", step: 0, resumeHint: null }]);
  });

  test("other data on a member is an error for all", async () => {
    const other = lab.path("other.jsonl");
    writeFileSync(other, rowsText(22, 500));
    const real = lab.path("swapped.jsonl");
    writeFileSync(real, rowsText(22, 0));
    // The same name, and other content: as on machines that do not share a disk.
    const options = { ...plain("other"), data: [real] };
    let isSecond = false;
    const groups = localGroup(2).map((group) => ({
      ...group,
      broadcast: async <T>(value: T): Promise<T> => {
        const got = await group.broadcast(value);
        const isConfig = group.rank === 1 && !isSecond;
        isSecond ||= isConfig;
        return isConfig ? ({ ...got, data: [other] } as T) : got;
      },
    }));
    const failures = groups.map((group) => runAll(options, { group }).catch((e: unknown) => e));
    for (const error of await Promise.all(failures))
      expect(error).toMatchObject({
        message: "rank 1 has another data than rank 0: all must read the same files",
      });
  });
});

import { writeFileSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { afterAll, expect, test } from "vitest";
import { TrainingError } from "../../src/errors.ts";
import type { TrainOptions } from "../../src/train/config/config.ts";
import { type Ran, runCli } from "../cli/run-cli.ts";
import {
  adapterHashes,
  eventsOf,
  measures,
  openLab,
  rowsText,
  runAll,
  statefulRun,
  stoppedOf,
} from "./tiny-run.ts";

const lab = openLab();
afterAll(lab.remove);

type Kill = (signal: NodeJS.Signals) => unknown;

/** `lowrank train --json` with options from a file; `when` sees the output and may end the process. */
function cliRun(options: TrainOptions, when: (output: string, kill: Kill) => void = () => {}): Promise<Ran> {
  const file = lab.path(`options-${Math.random()}.json`);
  writeFileSync(file, JSON.stringify(options));
  return runCli(["train", "--config", file, "--json"], {
    env: { LOWRANK_CACHE: lab.path("cache") },
    onOutput: (output, child) => when(output, (signal) => child.kill(signal)),
  });
}

/** Ends the process `delayMs` after the first report of a step. */
function killAfterStep(step: number, delayMs: number): (output: string, kill: Kill) => void {
  let isSet = false;
  return (output, kill) => {
    if (isSet || !output.includes(`"type":"step","step":${step},`)) return;
    isSet = true;
    setTimeout(() => kill("SIGKILL"), delayMs);
  };
}

const everyStep = (output: string): TrainOptions => ({
  ...statefulRun(lab, output),
  checkpointEvery: 1,
  maxSteps: 30,
});

test("killed (-9) after steps, between them and while checkpoints are written: the resumed run is the same", async () => {
  const folder = lab.path("killed");
  await runAll(everyStep("whole"));
  // A step takes about 10 ms here, and so does writing a checkpoint.
  const first = await cliRun(everyStep("killed"), killAfterStep(2, 3));
  expect(first).toMatchObject({ exitCode: 137 });
  for (const [step, delayMs] of [
    [9, 9],
    [18, 14],
  ] as const)
    expect(await cliRun({ resume: folder }, killAfterStep(step, delayMs))).toMatchObject({ exitCode: 137 });
  const last = await cliRun({ resume: folder });
  expect(last).toMatchObject({ exitCode: 0, stderr: "" });
  expect(last.stdout).not.toContain('"type":"warning"'); // no checkpoint is ever half there
  expect(last.stdout).toMatch(/"type":"resumed","step":(1[7-9]|2\d),/);
  expect(await adapterHashes(folder)).toEqual(await adapterHashes(lab.path("whole")));
  expect(await measures(folder)).toEqual(await measures(lab.path("whole")));
  expect((await readdir(folder)).filter((name) => name.startsWith("lock"))).toEqual([]);
});

test.each([
  ["SIGTERM", "terminated", 143],
  ["SIGHUP", "hung-up", 129],
] as const)(
  "%s is Ctrl-C with another exit status: checkpoint, hint (run %s, status %d)",
  async (signal, name, status) => {
    let isSent = false;
    const stopped = await cliRun({ ...everyStep(name), maxSteps: 4000 }, (output, kill) => {
      if (isSent || !output.includes('"type":"step"')) return;
      isSent = true;
      kill(signal);
    });
    expect(stopped.exitCode).toBe(status);
    const [checkpoint, end] = stopped.stdout.trim().split("\n").slice(-2);
    expect(checkpoint).toContain('"type":"checkpoint"');
    expect(end).toContain(`"resumeHint":"lowrank train --resume ${lab.path(name)}"`);
  },
);

test("a folder in use is refused; a second Ctrl-C ends the process in the middle of a step, and the folder is free", async () => {
  const folder = lab.path("held");
  writeFileSync(lab.path("many.jsonl"), rowsText(12000, 0));
  // An update takes seconds, nearly all of them inside the engine (packing one large batch would take as long, here).
  const long = {
    ...{ ...statefulRun(lab, "held"), data: [lab.path("many.jsonl")], batchSize: 30, accumulation: 400 },
    ...{ samples: 0, testData: null, validationData: null, evalEvery: null, checkpointEvery: 100 },
    maxSteps: 30,
  };
  let refusal: Promise<unknown> | undefined;
  let isRefused = false;
  let stepsBefore: number | null = null;
  let presses: NodeJS.Timeout | undefined;
  const stopped = await cliRun(long, (output, kill) => {
    const steps = output.split('"type":"step"').length - 1;
    if (steps === 0) return;
    refusal ??= runAll({ resume: folder })
      .catch((error: unknown) => error)
      .finally(() => {
        isRefused = true;
      });
    // At the start of a step, when this process has nothing else to do: presses until one is the second. (While a batch is
    // packed the other process does not look, and takes two for one.)
    if (isRefused) stepsBefore ??= steps;
    if (stepsBefore === null || steps !== stepsBefore + 1 || presses) return;
    kill("SIGINT");
    presses = setInterval(() => kill("SIGINT"), 350);
  });
  clearInterval(presses);
  // Ended by the signal itself: a finished step would have said "stopped", and exiting in the middle of one crashes (134).
  expect(stopped.exitCode).toBe(130);
  expect(stopped.stdout).not.toContain('"type":"stopped"');
  expect(await refusal).toBeInstanceOf(TrainingError);
  expect(String(await refusal)).toMatch(/held is in use by process \d+/);
  const controller = new AbortController();
  const again = await runAll(
    { resume: folder },
    { signal: controller.signal, onEvent: (event) => event.type === "preview" && controller.abort() },
  );
  expect(stoppedOf(again).step).toBe(0);
});

test("a second train() on the same folder is refused while the first runs", async () => {
  const options = statefulRun(lab, "twice");
  let second: Promise<unknown> | undefined;
  const events = await runAll(options, {
    onEvent: (event) => {
      if (event.type === "step") second ??= runAll({ resume: lab.path("twice") }).catch((error) => error);
    },
  });
  expect(await second).toBeInstanceOf(TrainingError);
  expect(String(await second)).toContain("in use by this process");
  expect(eventsOf(events, "done").length).toBe(1);
});

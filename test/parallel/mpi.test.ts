import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { afterAll, describe, expect, test, vi } from "vitest";
import { newestCheckpoint } from "../../src/train/checkpoint.ts";
import type { TrainOptions } from "../../src/train/config/config.ts";
import type { TrainEvent } from "../../src/train/events.ts";
import { readMetrics } from "../../src/train/metrics-log.ts";
import { distFile, type Ran, type RunOptions, runProgram } from "../cli/run-cli.ts";
import { adapterHashes, eventsOf, openLab, runAll, runUntil, statefulRun } from "../train/tiny-run.ts";

const LAUNCHER = "mpirun";
const isThere = spawnSync(LAUNCHER, ["--version"]).stdout?.includes("Open MPI") ?? false;
if (!isThere) console.warn(`Open MPI is not tested: there is no ${LAUNCHER} of it (Debian: openmpi-bin).`);

const lab = openLab();
afterAll(lab.remove);

const plain = (output: string): TrainOptions => ({
  ...statefulRun(lab, output),
  ...{ dropout: 0, samples: 0, threads: 1 },
});

type Child = Parameters<NonNullable<RunOptions["onOutput"]>>[1];

/** Open MPI waits so many seconds before it tells its processes to end, and again before it kills them. */
const GRACE = ["--mca", "odls_base_sigkill_timeout", "2"];

/** `mpirun -n SIZE lowrank train`, on fewer cores than processes if need be. */
function mpirun(
  size: number,
  options: TrainOptions,
  how: RunOptions = {},
  flags = GRACE,
  shown = ["--json"],
): Promise<Ran> {
  const file = lab.path(`options-${Math.random()}.json`);
  writeFileSync(file, JSON.stringify(options));
  const command = [process.execPath, distFile("cli/main.js"), "train", "--config", file, ...shown];
  const env = { OMPI_ALLOW_RUN_AS_ROOT: "1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: "1", ...how.env };
  return runProgram(LAUNCHER, ["--oversubscribe", ...flags, "-n", String(size), ...command], {
    ...how,
    env: { LOWRANK_CACHE: lab.path("cache"), ...env },
  });
}

const eventsIn = ({ stdout }: Pick<Ran, "stdout">): TrainEvent[] =>
  stdout
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line) as TrainEvent);

const lossesOf = (events: readonly TrainEvent[]): number[] => eventsOf(events, "step").map((s) => s.loss);

/** Sums of floats in another order, after nine updates. */
function expectClose(got: readonly number[], expected: readonly number[]): void {
  expect(got.length).toBe(expected.length);
  for (const [i, x] of expected.entries())
    expect(Math.abs((got[i] as number) - x)).toBeLessThan(1e-6 * Math.max(1, x));
}

/** Id of the process that was started last, of those with such a command: the launcher's is lower than those of its processes. */
function newestProcess(command: string): number {
  return Number(spawnSync("pgrep", ["-n", "-f", command], { encoding: "utf8" }).stdout);
}

const atStep = (output: string, step: number): boolean => output.includes(`"type":"step","step":${step},`);

describe.skipIf(!isThere)("mpirun lowrank train", () => {
  test("one process is bit-equal to a run without it; two have the same losses, and one output", async () => {
    const alone = await runAll(plain("alone"));
    const one = await mpirun(1, plain("one"));
    expect(one.exitCode).toBe(0);
    expect(lossesOf(eventsIn(one))).toEqual(lossesOf(alone));
    expect(await adapterHashes(lab.path("one"))).toEqual(await adapterHashes(lab.path("alone")));
    const two = await mpirun(2, plain("two"));
    expect(two.exitCode).toBe(0);
    expect(two.stderr).toMatch(/^mpirun kills processes 2 s after Ctrl-C, .*\n$/);
    expectClose(lossesOf(eventsIn(two)), lossesOf(alone));
    expect(eventsIn(two).at(-1)?.type).toBe("done");
    expect(eventsIn(two).filter((e) => e.type === "plan")).toHaveLength(1);
  });

  test("a process that is killed (-9) ends the run; its newest checkpoint is good, and the run goes on without MPI", async () => {
    const long = { ...plain("killed"), maxSteps: 400, checkpointEvery: 2, evalEvery: null };
    let victim: number | null = null;
    const onOutput = (output: string): void => {
      if (victim !== null || !atStep(output, 7)) return;
      victim = newestProcess(`main.js train --config ${lab.folder}`);
      process.kill(victim, "SIGKILL");
    };
    const killed = await mpirun(2, long, { onOutput }, []);
    expect(killed.exitCode).not.toBe(0);
    const { checkpoint, damaged } = await newestCheckpoint(lab.path("killed"));
    expect(damaged).toEqual([]);
    const saved = checkpoint?.progression.step ?? 0;
    expect(saved).toBeGreaterThanOrEqual(6);
    const resumed = await runUntil({ resume: lab.path("killed") }, (e) => e.type === "step");
    expect(eventsOf(resumed, "step").map((e) => e.step)).toEqual([saved + 1]);
  });

  test("Ctrl-C at the launcher writes one checkpoint, from which the run goes on", async () => {
    const endless = { ...plain("stopped"), maxSteps: 1_000_000, evalEvery: null, checkpointEvery: 1_000_000 };
    let launcher: Child | null = null;
    const onOutput = (_: string, child: Child): void => {
      launcher = child;
    };
    const stepsOf = async (): Promise<number[]> =>
      (await readMetrics(lab.path("stopped"))).filter((e) => e.type === "step").map((e) => e.step);
    void vi
      .waitFor(async () => expect((await stepsOf()).length).toBeGreaterThan(2), 60_000)
      .then(
        () => launcher?.kill("SIGINT"),
        () => launcher?.kill("SIGKILL"),
      );
    const stopped = await mpirun(2, endless, { onOutput }, GRACE, []);
    expect(stopped.exitCode).not.toBe(0);
    const { checkpoint, damaged } = await newestCheckpoint(lab.path("stopped"));
    expect(damaged).toEqual([]);
    const steps = (await readMetrics(lab.path("stopped")))
      .filter((e) => e.type === "step")
      .map((e) => e.step);
    expect(checkpoint?.progression.step).toBe(steps.at(-1));
    const next = (steps.at(-1) as number) + 1;
    const events = await runUntil({ resume: lab.path("stopped") }, (e) => e.type === "step");
    expect(eventsOf(events, "step").map((e) => e.step)).toEqual([next]);
  });

  test("a run goes on with another number of processes", async () => {
    const alone = lossesOf(await runAll(plain("whole")));
    const first = await runUntil(plain("taken-up"), (e) => e.type === "step" && e.step === 4);
    const rest = await mpirun(3, { resume: lab.path("taken-up") });
    expect(rest).toMatchObject({ exitCode: 0 });
    expectClose([...lossesOf(first), ...lossesOf(eventsIn(rest))], alone);
  });

  test("a launcher that sets none of Open MPI's variables, as Slurm's: the library tells what it is", async () => {
    const file = lab.path("slurm.json");
    writeFileSync(file, JSON.stringify({ ...plain("slurm"), maxSteps: 1 }));
    const unset = ["SIZE", "LOCAL_SIZE", "RANK"].flatMap((name) => ["-u", `OMPI_COMM_WORLD_${name}`]);
    const command = [process.execPath, distFile("cli/main.js"), "train", "--config", file, "--json"];
    const env = { OMPI_ALLOW_RUN_AS_ROOT: "1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: "1" };
    const flags = ["--oversubscribe", "-n", "2"];
    const ran = await runProgram(LAUNCHER, [...flags, "env", ...unset, ...command], {
      env: { LOWRANK_CACHE: lab.path("cache"), ...env },
    });
    expect(ran.exitCode).toBe(0);
    expect(eventsOf(eventsIn(ran), "plan").map((e) => e.processes)).toEqual([2]);
  });

  test("what is wrong is said once, and ends all; a launcher that kills early is warned of", async () => {
    const failed = await mpirun(2, { ...plain("wrong"), data: [lab.path("missing.jsonl")] }, {}, []);
    expect(failed.exitCode).toBe(1);
    expect(failed.stderr).toMatch(/^rank 0 of 2: error: .*missing\.jsonl/m);
    expect(failed.stderr).not.toMatch(/rank 1 of 2/);
    expect(failed.stderr).toMatch(/give it --mca odls_base_sigkill_timeout 10/);
    const library = { LOWRANK_MPI_LIBRARY: "/nowhere/libmpi.so" };
    const missing = await mpirun(1, plain("missing"), { env: library }, []);
    expect(missing.exitCode).toBe(1);
    expect(missing.stderr).toMatch(/no MPI library can be used: \/nowhere\/libmpi\.so: .*openmpi-bin/);
  });
});

import { mkdtemp, readdir, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { runCli } from "./run-cli.ts";

const MODEL = fileURLToPath(new URL("../fixtures/models/llama", import.meta.url));
const TINY = ["train", "--model", MODEL, "--data", "shell-recipes", "--limit", "24", "--max-length", "256"];
const RUN = [...TINY, "--threads", "1", "--samples", "1", "--warmup-steps", "2", "--learning-rate", "0.01"];

async function newFolder(): Promise<string> {
  return mkdtemp(join(tmpdir(), "lowrank-train-"));
}

/** Loss of every step in a run's log. */
async function losses(run: string): Promise<number[]> {
  const lines = (await readFile(join(run, "metrics.jsonl"), "utf8")).trim().split("\n");
  const events = lines.map((line) => JSON.parse(line) as { type: string; loss: number });
  return events.filter((event) => event.type === "step").map((event) => event.loss);
}

test("a run prints plan, steps, losses and where the adapter is, and leaves its files", async () => {
  const cwd = await newFolder();
  const { exitCode, stdout } = await runCli([...RUN, "--name", "tiny"], { cwd });
  expect(exitCode).toBe(0);
  for (const part of [
    "Adapter     lora: ",
    "step 1/3 ",
    "step 3/3 ",
    "Test loss ",
    "Sample 1",
    "Adapter    runs/tiny-1/adapter",
  ])
    expect(stdout).toContain(part);
  const files = [
    "adapter",
    "checkpoints",
    "loss.svg",
    "metrics.jsonl",
    "report.html",
    "run.json",
    "summary.json",
  ];
  expect((await readdir(join(cwd, "runs/tiny-1"))).sort()).toEqual(files);
  const inspected = await runCli(["inspect", "runs/tiny-1"], { cwd });
  expect(inspected.stdout).toMatch(/^steps +3 of 3$/m);
}, 60_000);

test("a trained run folder is used by name: generate, chat, evaluate, merge", async () => {
  const cwd = await newFolder();
  expect((await runCli([...RUN, "--output", "run", "--samples", "0"], { cwd })).exitCode).toBe(0);
  const adapter = ["--adapter", "run", "--threads", "1"];
  const answer = await runCli(["generate", ...adapter, "--max-tokens", "4", "-"], { cwd, input: "hello\n" });
  expect(answer).toMatchObject({ exitCode: 0, stderr: "" });
  expect(answer.stdout).toBe(
    (await runCli(["generate", ...adapter, "--max-tokens", "4", "hello"], { cwd })).stdout,
  );
  const chat = await runCli(["chat", ...adapter, "--max-tokens", "4"], { cwd, input: "hello\n" });
  expect(chat).toMatchObject({ exitCode: 0, stdout: answer.stdout });
  expect((await runCli(["merge", "--adapter", "run", "--output", "merged"], { cwd })).exitCode).toBe(0);
  const data = ["--limit", "8", "--max-length", "256", "--threads", "1", "--json"];
  const losses = [
    ["--adapter", "run"],
    ["--model", "merged"],
    ["--model", MODEL],
  ].map(async (subject) => {
    const { stdout } = await runCli(["evaluate", ...subject, ...data], { cwd });
    return (JSON.parse(stdout) as { loss: number }).loss;
  });
  const [adapted, merged, base] = await Promise.all(losses);
  expect(merged).toBeCloseTo(adapted as number, 4); // W + s·B·A rounds once more than W·x + s·B·(A·x)
  expect(Math.abs((base as number) - (adapted as number))).toBeGreaterThan(0.01);
}, 120_000);

test("a dry run prints the plan and leaves nothing", async () => {
  const cwd = await newFolder();
  const { exitCode, stdout } = await runCli([...RUN, "--dry-run", "--json"], { cwd });
  expect(exitCode).toBe(0);
  const events = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { type: string });
  expect(events.map((event) => event.type).filter((type) => type !== "progress")).toEqual([
    "plan",
    "preview",
  ]);
  expect(await readdir(cwd)).toEqual([]);
}, 60_000);

test("a flag takes none where there may be no value", async () => {
  const cwd = await newFolder();
  const { exitCode, stdout } = await runCli([...RUN, "--max-steps", "1", "--clip-norm", "none"], { cwd });
  expect({ exitCode, end: stdout.includes("Adapter    runs/") }).toEqual({ exitCode: 0, end: true });
}, 60_000);

test("Ctrl-C, then --resume: the same losses as a run that was left alone", async () => {
  const cwd = await newFolder();
  const long = [...RUN, "--epochs", "60", "--json"];
  expect((await runCli([...long, "--output", "whole"], { cwd })).exitCode).toBe(0);
  let isSent = false;
  const stopped = await runCli([...long, "--output", "cut"], {
    cwd,
    onOutput: (stdout, child) => {
      if (isSent || !stdout.includes('"type":"step","step":4,')) return;
      isSent = true;
      child.kill("SIGINT");
    },
  });
  expect(stopped.exitCode).toBe(130);
  expect(stopped.stderr).toBe("finishing the step and saving; press Ctrl-C again to stop at once\n");
  expect(stopped.stdout).toContain('"resumeHint":"lowrank train --resume cut"');
  expect((await losses(join(cwd, "cut"))).length).toBeLessThan(180);
  const changed = await runCli(["train", "--resume", "cut", "--rank", "2"], { cwd });
  expect(changed).toMatchObject({ exitCode: 2 });
  expect(changed.stderr).toContain("--rank: is 16 in that run, not 2; start a new run");
  expect((await runCli(["train", "--resume", "cut", "--json"], { cwd })).exitCode).toBe(0);
  expect(await losses(join(cwd, "cut"))).toEqual(await losses(join(cwd, "whole")));
}, 120_000);

test("a run without model and data says what the quick start gives it, and what it does not", async () => {
  const cwd = await newFolder();
  const env = { LOWRANK_CACHE: cwd, HF_HOME: cwd };
  const { stdout, exitCode } = await runCli(["train", "--rank", "4", "--offline"], { cwd, env });
  expect(exitCode).not.toBe(0); // the model is not there
  expect(stdout).toMatch(
    /^no model and no data is named: the quick start, with\n {2}--model smollm2-135m --data us-addresses (--[-a-z]+ \S+ ?)+\n/,
  );
  expect(stdout).not.toContain("--rank");
  const named = await runCli(["train", "--data", "us-addresses", "--offline"], { cwd, env });
  expect(named.stdout).not.toContain("quick start");
});

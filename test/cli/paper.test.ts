import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder } from "../formats/fixtures.ts";
import { fixturePath } from "../peft/adapters.ts";
import { runCli } from "./run-cli.ts";

test("--list names every experiment with its place in the paper", async () => {
  const { stdout, exitCode } = await runCli(["paper", "--list"]);
  expect(exitCode).toBe(0);
  expect(stdout).toMatch(/^rank +Which rank \(§7\.2, Table 6\)$/m);
  expect(stdout.trim().split("\n")).toHaveLength(13);
});

test.each([
  [["--only", "rnak"], "there is no experiment rnak; there are parameters, memory"],
  [["--quick", "--full"], "--quick: cannot stand beside --full"],
  [["--model", "/nowhere", "--offline"], "/nowhere"],
  [["--prompt-field", "question"], "--prompt-field: has no effect without --data"],
  [["--data", "a.jsonl", "--questions", "b"], "--questions: has no effect beside --data"],
])("%j is refused", async (flags, message) => {
  const { stderr, exitCode } = await runCli(["paper", ...flags], { cwd: await temporaryFolder() });
  expect(exitCode).not.toBe(0);
  expect(stderr).toContain(message);
});

test("what costs no training is measured once; page, JSON and CSV are written", async () => {
  const cwd = await temporaryFolder();
  const command = [
    "paper",
    "--quick",
    "--offline",
    "--model",
    fixturePath("models/llama"),
    "--only",
    "parameters,memory",
  ];
  const first = await runCli(command, { cwd });
  expect([first.stderr, first.exitCode]).toEqual(["", 0]);
  expect(first.stdout).toContain("2 experiments, 2 cells, 0 of them there already");
  expect(first.stdout).toContain("held: |Θ| can be 0.01% of |Φ|.");
  const read = (name: string): Promise<string> => readFile(join(cwd, "paper", name), "utf8");
  const { cells, measured } = JSON.parse(await read("results.json"));
  expect([cells.length, measured.length]).toEqual([2, 2]);
  expect((await read("parameters.csv")).split("\r\n")[0]).toBe(
    'method,trained parameters,"share of the model, %","adapter, bytes"',
  );
  const page = await read("report.html");
  expect(page).toContain("default-src 'none'");
  expect(page.match(/https?:\/\/(?!www\.w3\.org)/)).toBeNull();
  const second = await runCli(command, { cwd });
  expect(second.stdout).toContain("2 cells, 2 of them there already");
  expect(JSON.parse(await read("results.json")).cells).toEqual(cells);
  await rm(join(cwd, "paper", "cells"), { recursive: true }); // the report tells them
  const third = await runCli([...command.slice(0, -1), "parameters"], { cwd });
  expect(third.stdout).toContain("1 cells, 1 of them there already");
  expect(JSON.parse(await read("results.json")).cells).toHaveLength(2); // none is lost
});

test("data that are no prompts with answers, and an output that is a file, are refused by name", async () => {
  const cwd = await temporaryFolder();
  await writeFile(join(cwd, "plain.jsonl"), '{"text":"a"}\n{"text":"b"}\n');
  const command = [
    "paper",
    "--quick",
    "--offline",
    "--model",
    fixturePath("models/llama"),
    "--only",
    "parameters",
  ];
  const plain = await runCli([...command, "--data", "plain.jsonl"], { cwd });
  expect(plain.exitCode).not.toBe(0);
  expect(plain.stderr).toContain(
    "plain.jsonl: expected prompts with answers alone, at least 3 of them, got 0 and 2 rows",
  );
  const file = await runCli([...command, "--output", "plain.jsonl"], { cwd });
  expect(file.exitCode).not.toBe(0);
  expect(file.stderr).toContain("output: plain.jsonl");
  expect(file.stderr).not.toContain("defect");
});

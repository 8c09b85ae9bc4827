import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { encoderFolder } from "../models/encoders.ts";
import { tinyModel } from "../train/tiny-run.ts";
import { type Ran, runCli } from "./run-cli.ts";

let cache: string;
beforeAll(() => {
  cache = mkdtempSync(join(tmpdir(), "lowrank-cache-"));
});
afterAll(() => rmSync(cache, { recursive: true, force: true }));

const bert = encoderFolder("bert");

function run(args: readonly string[], input = ""): Promise<Ran> {
  return runCli(["classify", "--offline", "--threads", "1", ...args], {
    input,
    env: { LOWRANK_CACHE: cache },
  });
}

test("names the likeliest class and the probabilities of all", async () => {
  const { exitCode, stdout } = await run(["--model", bert, "a great film", "dull"]);
  expect(exitCode).toBe(0);
  const lines = stdout.trimEnd().split("\n");
  expect(lines).toHaveLength(2);
  const share = String.raw`\d+\.\d+%`;
  const label = "(bad|fair|good)";
  expect(lines[0]).toMatch(
    new RegExp(`^${label} {2}${share} {2}\\(${label} ${share}, ${label} ${share}\\) {2}a great film$`),
  );
});

test("one JSON object per line of standard input, pairs too", async () => {
  const { stdout } = await run(
    ["--model", bert, "--json", "--pair", "nothing works"],
    "a great film\ndull, badly told\n",
  );
  const answers = stdout
    .trimEnd()
    .split("\n")
    .map((text) => JSON.parse(text));
  expect(answers).toMatchObject([
    { text: "a great film", pair: "nothing works", cutTokens: 0 },
    { text: "dull, badly told", pair: "nothing works" },
  ]);
  for (const { label, score, scores } of answers) {
    expect(Object.keys(scores)).toEqual(["bad", "fair", "good"]);
    expect(score).toBe(Math.max(...(Object.values(scores) as number[])));
    expect(scores[label]).toBe(score);
  }
});

test("a value, for a model that gives one, and a warning where texts are cut", async () => {
  const { stdout, stderr } = await run(["--model", encoderFolder("score"), "x ".repeat(60).trim()]);
  expect(stdout).toMatch(/^-?\d+(\.\d+)? {2}x x x/);
  expect(stderr).toContain("1 of 1 texts are longer than the model's positions and were cut");
});

test("what cannot be classified is said", async () => {
  const decoder = await run(["--model", tinyModel("llama"), "hello"]);
  expect([decoder.exitCode, decoder.stdout]).toEqual([1, ""]);
  expect(decoder.stderr).toContain("is a decoder (LlamaForCausalLM): it has no classes to tell apart");
  const nothing = await run(["--model", bert]);
  expect(nothing.exitCode).toBe(2);
  expect(nothing.stderr).toContain("no text: give it as an argument");
});

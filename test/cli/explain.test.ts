import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { fixturePath } from "../peft/adapters.ts";
import { type Ran, runCli } from "./run-cli.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "lowrank-cli-"));
});
afterAll(() => rm(folder, { recursive: true }));

const MODEL = fixturePath("models/llama");
const ADAPTER = join(MODEL, "adapter");
const OTHER = fixturePath("explain/other");

function explain(...args: string[]): Promise<Ran> {
  return runCli(["explain", ...args], { cwd: folder, env: { LOWRANK_CACHE: join(folder, "cache") } });
}

test("an adapter beside its base, as text within 80 columns", async () => {
  const { exitCode, stdout, stderr } = await explain(ADAPTER, "--model", MODEL);
  expect(exitCode).toBe(0);
  expect(stderr).toMatch(/^warning: .* cannot be told$/m);
  expect(stdout).toMatch(/^Adapter {2}.*adapter: lora, rank 4, 14 matrices\nBase {5}.*stored as 14 × F32/);
  const tables = stdout.split("\n\n").slice(1, 4).join("\n").split("\n");
  expect(tables.map((line) => [...line].length).filter((width) => width > 80)).toEqual([]);
  expect(tables[0]).toMatch(/^Matrix +‖ΔW‖\/‖W‖ +‖ΔW‖² \(even\) +Rank \(random\) +99% +Factor \(random\)$/);
  for (const topic of ["Change", "Effective rank", "Unused ranks", "Amplification"])
    expect(stdout).toMatch(new RegExp(`^${topic} .*`, "m"));
  expect(stdout).toMatch(/^Amplification .*, \d.* for random directions/m);
});

test("two adapters, as text, page and JSON", async () => {
  const args = [ADAPTER, OTHER, "--model", MODEL, "--any-base", "--no-own-directions", "--directions", "2"];
  const { exitCode, stdout } = await explain(...args, "--html", "both.html");
  expect(exitCode).toBe(0);
  expect(stdout).toMatch(
    /^Matrix, φ\(2,2\) +Cosine \(±\) +Inputs \(random\) +Outputs \(random\) +A \(random\)$/m,
  );
  expect(stdout).toMatch(/^Same directions\? {2}φ\(1,1\) of inputs .* \(random/m);
  expect(stdout).toMatch(/\nPage {2}both\.html\n$/);
  expect(await readFile(join(folder, "both.html"), "utf8")).toMatch(/^<!doctype html>/);
  const json = JSON.parse((await explain(...args, "--json")).stdout);
  expect(json.modules).toHaveLength(14);
  expect(json.modules[0].amplification.fromWeight).toBeNull();
  expect(json.comparison.modules[0].right.phi).toHaveLength(2);
});

test("without the base: the note, and no number that needs it", async () => {
  const missing = await explain(OTHER, "--offline");
  expect(missing.stderr).toBe("warning: its base model tiny/llama could not be had\n");
  expect(missing.stdout).toMatch(/^Base {5}without its weights$/m);
  expect(missing.stdout).not.toMatch(/‖W‖|Factor/);
});

test("a smaller adapter, and what it costs", async () => {
  const small = await explain(ADAPTER, "--shrink", "2", "--output", "small");
  expect(small.exitCode).toBe(0);
  expect(small.stdout).toMatch(
    /^14 modules in fewer ranks: small\n‖ΔW − ΔW'‖ \/ ‖ΔW‖ = \d+\.\d% over all modules; /,
  );
  expect(await readdir(join(folder, "small"))).toEqual([
    "README.md",
    "adapter_config.json",
    "adapter_model.safetensors",
  ]);
  const kept = await explain(ADAPTER, "--keep", "0.9", "--output", "kept", "--json");
  const { modules, relativeError } = JSON.parse(kept.stdout);
  expect(relativeError).toBeLessThan(Math.sqrt(0.1));
  expect(new Set(modules.map((m: { rank: number }) => m.rank)).size).toBeGreaterThan(1);
  const again = await explain("kept", "--model", MODEL, "--no-own-directions", "--json");
  expect(JSON.parse(again.stdout).ranks.rank).toBe(Math.max(...modules.map((m: { rank: number }) => m.rank)));
  const there = await explain(ADAPTER, "--shrink", "2", "--output", "small");
  expect([there.exitCode, there.stderr]).toEqual([1, expect.stringMatching(/small/)]);
});

test("what is missing, wrong, or has no effect", async () => {
  const refused = async (...args: string[]): Promise<string> => {
    const { exitCode, stderr, stdout } = await explain(...args);
    expect([exitCode, stdout]).toEqual([2, ""]);
    return stderr;
  };
  expect(await refused()).toMatch(/missing required argument 'adapter'/);
  expect(await refused("a", "--shrink", "2")).toBe(
    "error: missing: --output, the folder of the smaller adapter\n",
  );
  const all = await refused(
    "a",
    "b",
    "--shrink",
    "2",
    "--keep",
    "0.5",
    "--output",
    "c",
    "--html",
    "d",
    "--no-base",
  );
  expect(all.split("\n")).toEqual([
    "error: --no-base has no effect on a smaller adapter",
    "--html has no effect on a smaller adapter",
    "one adapter can be made smaller, got two",
    "expected one of --shrink and --keep",
    "",
  ]);
  expect(await refused("a", "--output", "b")).toMatch(/--output has no effect without --shrink or --keep/);
  expect(await refused("a", "--directions", "3")).toMatch(/--directions has no effect with one adapter/);
  expect(await refused("a", "--keep", "2", "--output", "b")).toMatch(/--keep/);
  const nowhere = await explain("./nowhere");
  expect([nowhere.exitCode, nowhere.stderr]).toEqual([1, expect.stringMatching(/no such folder/)]);
  const dora = await explain(fixturePath("peft/dora"), "--shrink", "1", "--output", "dora");
  expect([dora.exitCode, dora.stderr]).toEqual([1, expect.stringMatching(/DoRA adapter cannot be shrunk/)]);
});

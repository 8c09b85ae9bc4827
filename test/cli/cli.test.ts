import { existsSync } from "node:fs";
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { commands } from "../../src/cli/commands.ts";
import { distFile, runCli, runNode } from "./run-cli.ts";

const FIXTURES = fileURLToPath(new URL("../fixtures/formats", import.meta.url));
const FAKE_TRAINING = fileURLToPath(new URL("./fake-training.mjs", import.meta.url));

async function newFolder(): Promise<string> {
  return mkdtemp(join(tmpdir(), "lowrank-cli-"));
}

describe("lowrank", () => {
  test("help lists every command with its summary; the version is the package's", async () => {
    const help = await runCli(["--help"]);
    expect(help).toMatchObject({ exitCode: 0, stderr: "" });
    for (const { name, summary } of commands) expect(help.stdout).toMatch(new RegExp(`${name} .*${summary}`));
    expect((await runCli(["--version"])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  test("every command has help with examples", async () => {
    for (const { name } of commands) {
      const help = await runCli([name, "--help"]);
      expect(help, name).toMatchObject({ exitCode: 0, stderr: "" });
      expect(help.stdout, name).toContain(`$ lowrank ${name}`);
    }
  }, 30_000);

  test("an unknown command and an unknown flag are usage errors with a guess", async () => {
    const command = await runCli(["trian"]);
    expect(command).toMatchObject({ exitCode: 2, stdout: "" });
    expect(command.stderr).toContain("Did you mean train?");
    const flag = await runCli(["train", "--lora-alpha", "8"]);
    expect(flag).toMatchObject({ exitCode: 2, stdout: "" });
    expect(flag.stderr).toBe("error: unknown option '--lora-alpha'; did you mean --alpha?\n");
    expect((await runCli([])).exitCode).toBe(2);
  });

  test("wrong values are told at once, by flag, before anything is loaded", async () => {
    const args = ["--rank", "0", "--learning-rate", "abc", "--schedule", "x", "--rank-pattern", "q_proj"];
    const { exitCode, stdout, stderr } = await runCli(["train", ...args]);
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: "" });
    expect(stderr.split("\n").slice(1, -1)).toEqual([
      "  --rank: expected a whole number ≥ 1 and ≤ 65536, got 0",
      '  --rank-pattern: expected module=rank pairs, ranks ≥ 1, got {"q_proj":"q_proj"}',
      '  --learning-rate: expected a number > 0, got "abc"',
      '  --schedule: expected one of constant, linear, cosine, got "x"',
    ]);
  });

  test("a command line that the execution engine would die of is refused", async () => {
    const { exitCode, stderr } = await runCli(["generate", "x".repeat(40_000)]);
    expect(exitCode).toBe(2);
    expect(stderr).toMatch(/^error: the command line is 40,010 bytes long, and the limit is 8,192: /);
  });

  test("a name that is given twice is told, not taken once", async () => {
    const { exitCode, stderr } = await runCli(["combine", "--adapters", "a=0.5,b=1", "--adapters", "a=0.7"]);
    expect({ exitCode, stderr }).toEqual({ exitCode: 2, stderr: "error: --adapters: a is given twice\n" });
  });

  test("a config file's problems name its lines; a missing one is an error", async () => {
    const folder = await newFolder();
    await writeFile(join(folder, "run.yaml"), "rank: 0\nlr: 1\n");
    const wrong = await runCli(["train", "--config", "run.yaml"], { cwd: folder });
    expect(wrong.exitCode).toBe(2);
    expect(wrong.stderr).toContain("run.yaml:1: rank: expected a whole number ≥ 1 and ≤ 65536, got 0");
    expect(wrong.stderr).toContain("run.yaml:2: lr: there is no such option; did you mean learningRate?");
    const missing = await runCli(["train", "--config", "none.yaml"], { cwd: folder });
    expect(missing).toMatchObject({ exitCode: 1, stderr: "error: config file none.yaml: is not there\n" });
  });

  test("--debug shows where an error came from", async () => {
    expect((await runCli(["inspect", "/no/such"])).stderr).toBe(
      "error: /no/such: there is no such file or folder\n",
    );
    expect((await runCli(["inspect", "/no/such", "--debug"])).stderr).toMatch(/NotFoundError: .*\n +at /);
  });

  test("generate and merge say what is missing", async () => {
    expect(await runCli(["generate"])).toMatchObject({ exitCode: 2 });
    expect((await runCli(["merge"])).stderr).toBe("error: missing: --adapter and --output\n");
    const adapter = await runCli(["generate", "--adapter", "/no/such", "hello"]);
    expect(adapter.exitCode).toBe(1);
    expect(adapter.stderr).toContain('adapter "/no/such": no such folder');
  });
});

test("env says what a report needs, and no value of a variable", async () => {
  const env = { HF_TOKEN: "hf_secret", HTTPS_PROXY: "http://user:word@proxy" };
  const text = await runCli(["env"], { env });
  expect(text).toMatchObject({ exitCode: 0, stderr: "" });
  expect(text.stdout).toContain(`Node          ${process.versions.node}\n`);
  expect(text.stdout).toMatch(/Variables .*HF_TOKEN, HTTPS_PROXY/);
  expect(text.stdout).not.toMatch(/secret|word/);
  const json = JSON.parse((await runCli(["env", "--json"], { env })).stdout);
  expect(json).toMatchObject({ node: process.versions.node, onnxRuntime: expect.stringMatching(/^\d/) });
  expect(json.devices).toContain("cpu");
});

test("devices lists what the platform can have, the CPU as it is", async () => {
  const json = JSON.parse((await runCli(["devices", "--json"])).stdout);
  expect(json).toMatchObject({
    onnxRuntime: expect.stringMatching(/^\d/),
    auto: { device: expect.any(String) },
  });
  expect(json.devices[0]).toMatchObject({ device: "cpu", state: "there", check: null });
  for (const { state, facts } of json.devices) {
    expect(["there", "wrong", "missing", "crashed", "late"]).toContain(state);
    expect(facts.length).toBeGreaterThan(0);
  }
}, 180_000);

describe("inspect", () => {
  test("a folder and a GGUF of one model: kinds, shapes, totals", async () => {
    const folder = await runCli(["inspect", join(FIXTURES, "llama"), "--json"]);
    const gguf = await runCli(["inspect", join(FIXTURES, "llama.gguf"), "--json"]);
    const [a, b] = [folder, gguf].map((ran) => JSON.parse(ran.stdout) as Record<string, unknown>);
    expect(a).toMatchObject({
      kind: "model",
      format: "Hugging Face folder",
      facts: { Architecture: "LlamaForCausalLM" },
    });
    expect(b).toMatchObject({ kind: "model", facts: { Architecture: "llama" } });
    expect(a?.groups).toContainEqual(
      expect.objectContaining({ pattern: "model.layers.*.self_attn.q_proj.weight" }),
    );
    const groups = a?.groups as { count: number; parameters: number }[];
    const totals = a?.totals as { tensors: number; parameters: number };
    expect(groups.reduce((sum, group) => sum + group.count, 0)).toBe(totals.tensors);
    expect(groups.reduce((sum, group) => sum + group.parameters, 0)).toBe(totals.parameters);
  });

  test("--tensors lists every tensor; other things are refused by name", async () => {
    const { stdout } = await runCli(["inspect", join(FIXTURES, "llama"), "--tensors"]);
    expect(stdout).toContain("model.layers.1.self_attn.q_proj.weight");
    const folder = await newFolder();
    expect((await runCli(["inspect", folder])).stderr).toContain("neither model, adapter nor run");
    await writeFile(join(folder, "x.txt"), "");
    expect((await runCli(["inspect", join(folder, "x.txt")])).stderr).toContain("not a folder, .gguf or");
  });

  test("a model's own weights alone count, not the safetensors files beside them", async () => {
    const { stdout } = await runCli([
      "inspect",
      fileURLToPath(new URL("../fixtures/models/llama", import.meta.url)),
    ]);
    expect(stdout).toContain("\n20 tensors, 22,688 parameters ");
  });

  test("a reader that goes away is no error", async () => {
    const command = `"${process.execPath}" "${distFile("cli/main.js")}" inspect "${join(FIXTURES, "llama")}" --tensors | head -1`;
    const { stdout, stderr } = await runNode([
      "-e",
      `const c = require("node:child_process").spawnSync("sh", ["-c", ${JSON.stringify(command)}], { encoding: "utf8" });
       process.stdout.write(c.stdout); process.stderr.write(c.stderr)`,
    ]);
    expect(stderr).toBe("");
    expect(stdout.split("\n")).toHaveLength(2);
  });
});

const NO_ROOM = "/dev/full";

test.runIf(existsSync(NO_ROOM))("output that cannot be written is an error in one line", async () => {
  const command = `"${process.execPath}" "${distFile("cli/main.js")}" inspect "${join(FIXTURES, "llama")}" > ${NO_ROOM}`;
  const script = `process.exitCode = require("node:child_process").spawnSync("sh", ["-c", ${JSON.stringify(command)}], { stdio: "inherit" }).status`;
  const { exitCode, stderr } = await runNode(["-e", script]);
  expect(exitCode).toBe(1);
  expect(stderr).toMatch(/^error: cannot write the output: ENOSPC.*\n$/);
});

describe("Ctrl-C while training", () => {
  test("the first finishes the step, saves, says how to go on and exits 130", async () => {
    const ran = await runNode([FAKE_TRAINING, distFile("cli"), "polite"], {
      onOutput: (stdout, child) => {
        if (/^step 1\//m.test(stdout) && !stdout.includes("finishing")) child.kill("SIGINT");
      },
    });
    expect(ran.exitCode).toBe(130);
    expect(ran.stdout).toContain("finishing the step and saving; press Ctrl-C again to stop at once\n");
    expect(ran.stdout).toMatch(/stopped after step \d+\ngo on with: lowrank train --resume runs\/x-1\n$/);
  });

  test("the second stops at once; one that follows within a blink is the same press passed on", async () => {
    let presses = 0;
    let secondMs = 0;
    const ran = await runNode([FAKE_TRAINING, distFile("cli"), "stubborn"], {
      onOutput: (stdout, child) => {
        if (presses++ > 0 || !/^step 1\//m.test(stdout)) return;
        child.kill("SIGINT");
        setTimeout(() => child.kill("SIGINT"), 50);
        setTimeout(() => {
          secondMs = performance.now();
          child.kill("SIGINT");
        }, 600);
      },
    });
    expect(performance.now() - secondMs).toBeLessThan(1500);
    expect(ran.exitCode).toBe(130);
    expect(ran.stdout.match(/finishing/g)).toHaveLength(1);
    expect(ran.stdout).not.toMatch(/stopped|200\/200/);
  });

  test("an error of the trainer ends the command after the live line is put away", async () => {
    const ran = await runNode([FAKE_TRAINING, distFile("cli"), "failing"]);
    expect(ran.stderr).toBe("TrainingError: the loss of step 2 is not finite\n");
  });
});

test("chat keeps the conversation, /reset forgets it, /exit ends it", async () => {
  const script = fileURLToPath(new URL("./fake-chat.mjs", import.meta.url));
  const { exitCode, stdout } = await runNode([script, distFile("cli")], {
    input: "a\n\nb\n/reset\nc\n/exit\nd\n",
  });
  expect(exitCode).toBe(0);
  const first = "[system: be brief][user: a] at 0.5";
  expect(stdout.split("\n")).toEqual([
    first,
    `[system: be brief][user: a][assistant: ${first}][user: b] at 0.5`,
    "[system: be brief][user: c] at 0.5",
    "",
  ]);
});

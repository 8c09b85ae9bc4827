import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type FakeHub, startHub } from "../hub/server.ts";
import { fixturePath } from "../peft/adapters.ts";
import { type Ran, runCli } from "./run-cli.ts";

let hub: FakeHub;
let folder: string;
beforeAll(async () => {
  hub = await startHub();
  hub.token = "hf_mine";
  folder = await mkdtemp(join(tmpdir(), "lowrank-cli-"));
  await cp(fixturePath("models/llama/adapter"), join(folder, "run", "adapter"), { recursive: true });
});
afterAll(async () => {
  await hub.close();
  await rm(folder, { recursive: true });
});

const push = (args: readonly string[], token = "hf_mine"): Promise<Ran> =>
  runCli(["push", ...args], {
    cwd: folder,
    env: { HF_ENDPOINT: hub.url, HF_TOKEN: token, HF_HUB_OFFLINE: "" },
  });

test("a run's adapter to a new private repository, then again", async () => {
  const first = await push(["run", "--to", "me/mine", "--private", "--message", "one"]);
  const files = "2 files (adapter_config.json, adapter_model.safetensors)";
  expect(first.stdout).toBe(`made the repository and uploaded ${files}: ${hub.url}/me/mine\n`);
  expect(first.stderr).toContain(
    "warning: the adapter names its base model as tiny-llama, which is no Hub id",
  );
  expect(first.exitCode).toBe(0);
  expect(hub.visibility.get("me/mine")).toBe("private");
  const again = await push(["run", "--to", "me/mine"]);
  expect(again.stdout).toMatch(/^uploaded 2 files/);
  expect(hub.commits.map((c) => c.summary)).toEqual(["one", "Upload mine with lowrank"]);
});

test("what is missing or wrong", async () => {
  const to = await push(["run"]);
  expect(to).toMatchObject({ exitCode: 2, stderr: "error: missing: --to\n" });
  const token = await push(["run", "--to", "me/mine"], "");
  expect(token.exitCode).toBe(1);
  expect(token.stderr).toMatch(/^error: uploading to me\/mine needs a token in HF_TOKEN, and there is none/);
  const denied = await push(["run", "--to", "me/mine"], "hf_other");
  expect(denied.stderr).toMatch(/^error: the token in HF_TOKEN may not write to me\/mine/);
});

import { spawn } from "node:child_process";
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { checkAccess, keysOf, serveSettings } from "../../src/cli/serve-settings.ts";
import { adapterPath, modelPath } from "../generate/loading.ts";
import { distFile, runCli } from "./run-cli.ts";

const KEY = "sk-0123456789abcdef";

describe("lowrank serve", () => {
  test("refuses to listen where others can ask without a key, and says nothing of keys", async () => {
    const cases: [string[], RegExp][] = [
      [["--host", "0.0.0.0"], /--host 0\.0\.0\.0 can be reached from other machines: give --api-key/],
      [["--host", "::"], /can be reached from other machines/],
      [["--api-key", "short"], /--api-key 1: expected at least 16 characters, got 5/],
      [["--allow-origin", "https://a.example/x"], /--allow-origin: expected an origin/],
      [["--port", "70000", "--max-batch", "0"], /--port: .*\n.*--max-batch: /],
      [["a", "--model", "b"], /two models are named: a and --model b/],
    ];
    for (const [args, message] of cases) {
      const { exitCode, stdout, stderr } = await runCli(["serve", ...args]);
      expect({ exitCode, stdout }, args.join(" ")).toEqual({ exitCode: 2, stdout: "" });
      expect(stderr).toMatch(message);
      expect(stderr).not.toContain("short");
    }
  }, 60_000);

  test("keys come from flags and from LOWRANK_API_KEYS", () => {
    const keys = keysOf({ apiKey: [KEY] }, `${KEY}-2;rpm=5, ${KEY}-3 ,`);
    expect(keys.map(({ requestsPerMinute }) => requestsPerMinute)).toEqual([null, 5, null]);
    const open = { host: "0.0.0.0", allowOrigin: ["*", "https://app.example"] };
    const choice = { ...defaults(), ...open };
    expect(() => checkAccess(choice, keys)).not.toThrow();
    expect(() => checkAccess(choice, [])).toThrow("--host");
  });

  test("serves a model and a folder of adapters; SIGTERM and SIGINT end it with status 0", async () => {
    const folder = await mkdtemp(join(tmpdir(), "lowrank-serve-"));
    await cp(adapterPath("llama"), join(folder, "adapters", "notes"), { recursive: true });
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      const args = [
        modelPath("llama"),
        "--adapters",
        join(folder, "adapters"),
        "--port",
        "0",
        "--threads",
        "1",
      ];
      const env = {
        ...process.env,
        LOWRANK_CACHE: join(folder, "cache"),
        LOWRANK_DATA: join(folder, "data"),
        LOWRANK_API_KEYS: KEY,
      };
      const child = spawn(process.execPath, [distFile("cli/main.js"), "serve", ...args], { env });
      let [stdout, stderr] = ["", ""];
      child.stderr.on("data", (data) => {
        stderr += data;
      });
      const ended = new Promise((resolve) => child.on("close", resolve));
      const url = await new Promise<string>((resolve, reject) => {
        child.stdout.on("data", (data) => {
          stdout += data;
          const found = /(http:\S+) answers as llama, notes/.exec(stdout)?.[1];
          if (found) resolve(found);
        });
        child.on("close", () => reject(new Error(stderr)));
      });
      const headers = { "content-type": "application/json", authorization: `Bearer ${KEY}` };
      const body = JSON.stringify({
        model: "notes",
        messages: [{ role: "user", content: "Hi" }],
        max_tokens: 4,
      });
      const response = await fetch(`${url}/chat/completions`, { method: "POST", headers, body });
      expect(response.status).toBe(200);
      expect((await fetch(`${url}/models`)).status).toBe(401);
      child.kill(signal);
      expect(await ended, stderr).toBe(0);
      const lines = stderr.split("\n").filter((line) => line.startsWith("{")); // progress of loading comes before
      const events = lines.map((line) => JSON.parse(line).event);
      expect(events).toEqual(["adapter_loaded", "listening", "request", "request", "stopping", "stopped"]);
    }
    await rm(folder, { recursive: true });
  }, 60_000);
});

function defaults() {
  const values = Object.entries(serveSettings).map(([key, setting]) => [key, setting.parse(undefined)]);
  return Object.fromEntries(values) as Parameters<typeof checkAccess>[0];
}

import { appendFile, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { AdapterLibrary } from "../../src/server/adapter-library.ts";
import type { DashboardStatus, RunCurve } from "../../src/server/dashboard/shapes.ts";
import { ownIdentity } from "../../src/train/process.ts";
import { errorIn, type FakeServer, fakeServer, HELLO } from "./fake-engine.ts";
import { evaluationLine, stepLines, writeRun } from "./run-folders.ts";

let folder: string;
let server: FakeServer;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "lowrank-dashboard-"));
  server = fakeServer({}, { library: { folders: [folder] } as unknown as AdapterLibrary });
});

afterEach(() => rm(folder, { recursive: true }));

async function read<T>(path: string): Promise<T> {
  const response = await server.app.request(path);
  expect(response.status).toBe(200);
  return (await response.json()) as T;
}

const status = (): Promise<DashboardStatus> => read("/dashboard/status");

describe("the page", () => {
  test("is one HTML file with one script and one style sheet, and may load nothing else", async () => {
    const page = await server.app.request("/");
    expect(page.headers.get("content-type")).toBe("text/html; charset=utf-8");
    const html = await page.text();
    expect(html).not.toMatch(/https?:|<style|style=|<script>| on\w+=/);
    for (const path of ["/", "/dashboard/app.js", "/dashboard/app.css"]) {
      const policy = (await server.app.request(path)).headers.get("content-security-policy") ?? "";
      expect(policy).toMatch(/^default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'/);
      expect(policy).not.toMatch(/unsafe|\*|https?:/);
    }
  });

  test("the script holds the notices of what is bundled", async () => {
    const script = await (await server.app.request("/dashboard/app.js")).text();
    expect(script).toMatch(/Preact.*Jason Miller.*uPlot.*Leon Sorokin/s);
  });
});

describe("GET /dashboard/status", () => {
  test("the load is the engine's", async () => {
    await server.post("/v1/chat/completions", HELLO);
    const { base, load, hasFolders } = await status();
    expect([base, hasFolders]).toEqual(["tiny", true]);
    expect(load).toMatchObject({ running: 0, waiting: 0, promptTokens: 3, generatedTokens: 3 });
    expect(load.memoryBytes).toBeGreaterThan(1e6);
  });

  test("an adapter is described by its run, else by its card, else it is not known", async () => {
    const summary = { plan: { examples: 1307 }, done: { lossBefore: 3, lossAfter: 1.5 } };
    await writeRun(join(folder, "recipes"), { log: "", summary });
    for (const name of ["recipes/adapter", "carded", "plain"]) {
      await mkdir(join(folder, name), { recursive: true });
      await writeFile(join(folder, name, "adapter_model.safetensors"), "12345678");
    }
    await writeFile(join(folder, "carded", "README.md"), "---\ndatasets:\n- org/set\n---\n# A card\n");
    for (const name of ["recipes/adapter", "carded", "plain"])
      await server.engine.loadAdapter(name, join(folder, name));
    const { adapters } = await status();
    expect(adapters).toMatchObject([
      { trainedOn: "recipes.jsonl", examples: 1307, lossBefore: 3, lossAfter: 1.5, sizeBytes: 8 },
      { trainedOn: "org/set", examples: null, methods: ["lora"], parameters: 1 },
      { name: "plain", trainedOn: null, rank: null, lossAfter: null },
    ]);
  });

  test("runs are those of the folders: running, finished, or stopped", async () => {
    await writeRun(join(folder, "a-stopped"), { log: stepLines(1, 4, 10) });
    await writeRun(join(folder, "b-finished"), {
      log: stepLines(1, 10, 10),
      summary: { plan: {}, done: {} },
    });
    await writeRun(join(folder, "c-running"), { log: stepLines(1, 2, 10) });
    await writeFile(join(folder, "c-running", "lock.1"), JSON.stringify(await ownIdentity()));
    await mkdir(join(folder, "no-run"));
    await writeRun(`${folder}-outside`, { log: "" });
    await symlink(`${folder}-outside`, join(folder, "link"));
    const { runs } = await status();
    await rm(`${folder}-outside`, { recursive: true });
    expect(runs[0]).toMatchObject({
      ...{ name: "c-running", state: "running", step: 2, steps: 10, etaMs: 40, loss: 2.8 },
      ...{ data: "recipes.jsonl", model: "tiny", method: "lora" },
    });
    expect(runs.map(({ name, state, etaMs }) => [name, state, etaMs]).sort()).toEqual([
      ["a-stopped", "stopped", null],
      ["b-finished", "finished", null],
      ["c-running", "running", 40],
    ]);
  });

  test("no path of this machine is told", async () => {
    await writeRun(join(folder, "run"), { log: stepLines(1, 2, 2) });
    await server.engine.loadAdapter("a", join(folder, "run"));
    const text = JSON.stringify([await status(), await read("/dashboard/runs/0/run")]);
    expect(text).not.toMatch(/\/home|\/models|\/tmp/);
    expect(text).not.toContain(folder);
  });
});

describe("GET /dashboard/runs/{id}", () => {
  test("is the log as it is now: a half-written line is left out, a new one moves the curve", async () => {
    const log = `${evaluationLine(0, 3.5)}${stepLines(1, 3, 10)}{"type":"step","st`;
    await writeRun(join(folder, "run"), { log });
    const before = await status();
    const curve = await read<RunCurve>("/dashboard/runs/0/run");
    expect(curve.training.map(([step]) => step)).toEqual([1, 2, 3]);
    expect(curve.smoothed).toHaveLength(3);
    expect(curve).toMatchObject({ validation: [[0, 3.5]], test: [], lossUnit: "nats per token" });
    await appendFile(join(folder, "run", "metrics.jsonl"), `\n${stepLines(4, 4, 10)}`);
    const after = await status();
    expect(after.runs[0]?.version).not.toBe(before.runs[0]?.version);
    expect(after.runs[0]?.step).toBe(4);
    expect((await read<RunCurve>("/dashboard/runs/0/run")).training).toHaveLength(4);
  });

  test("other names lead nowhere", async () => {
    await writeRun(join(folder, "run"), { log: "" });
    for (const id of ["0/none", "1/run", "0/..%2Frun", "..%2f..%2fetc", "run"]) {
      const response = await server.app.request(`/dashboard/runs/${id}`);
      expect(response.status, id).toBe(404);
      expect(await errorIn(response)).toMatchObject({ code: "run_not_found" });
    }
  });

  test("without folders there are no runs", async () => {
    const alone = fakeServer();
    const body = (await (await alone.app.request("/dashboard/status")).json()) as DashboardStatus;
    expect(body).toMatchObject({ hasFolders: false, runs: [] });
  });
});

import { appendFile, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { AdapterLibrary } from "../../src/server/adapter-library.ts";
import type { DashboardStatus, JobOption, RunCurve } from "../../src/server/dashboard/shapes.ts";
import { newJobId } from "../../src/server/jobs/job-store.ts";
import { type Jobs, openJobs } from "../../src/server/jobs/jobs.ts";
import { noLog } from "../../src/server/log.ts";
import { trainConfig } from "../../src/train/config/config.ts";
import { ownIdentity } from "../../src/train/process.ts";
import { errorIn, type FakeServer, fakeEngine, fakeServer, HELLO } from "./fake-engine.ts";
import { rows } from "./jobs/job-server.ts";
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
    expect(body).toMatchObject({ hasFolders: false, runs: [], jobs: null });
  });
});

describe("fine-tuning jobs", () => {
  let jobs: Jobs;

  beforeEach(async () => {
    // None is started: what they are is written here.
    const options = { baseName: "tiny", dataDir: join(folder, "data"), maxJobs: 0, train: { model: "tiny" } };
    jobs = await openJobs(options, fakeEngine(), noLog);
    const library = { folders: [join(folder, "data", "runs")] } as unknown as AdapterLibrary;
    server = fakeServer({}, { library, jobs });
  });

  afterEach(() => jobs.close());

  const newJob = async (suffix: string | null = null): Promise<string> => {
    const form = new FormData();
    form.append("purpose", "fine-tune");
    form.append("file", new Blob([rows(12)]), "mine.jsonl");
    const file = await server.app.request("/v1/files", { method: "POST", body: form });
    const { id: trainingFile } = (await file.json()) as { id: string };
    // Making one reads the model, which the fake engine does not have.
    const hyperparameters = { batch_size: 8, learning_rate_multiplier: 1, n_epochs: 3 };
    const made = { id: newJobId(), model: "tiny", suffix, trainingFile, validationFile: null };
    const config = trainConfig({ data: ["mine"] });
    return jobs.folder.jobs.add({ ...made, config, hyperparameters, seed: 1, metadata: null }, null).id;
  };

  test("a job is listed with its file and its run, which is no run of its own; the newest is the first", async () => {
    const [first, second] = [await newJob("mine"), await newJob()];
    await writeRun(jobs.folder.runPath(first), { log: stepLines(1, 3, 10) });
    jobs.folder.jobs.move(first, ["queued"], "running");
    const { runs, jobs: list } = await status();
    expect(runs).toEqual([]);
    expect(list).toMatchObject({
      leftOut: 0,
      list: [
        { id: second, name: second, status: "queued", file: "mine.jsonl", run: null, error: null },
        { id: first, name: "mine", status: "running", model: null, run: { step: 3, trainedTokens: 30 } },
      ],
    });
    const curve = await read<RunCurve>(`/dashboard/runs/${list?.list[1]?.run?.id}`);
    expect(curve.training.map(([step]) => step)).toEqual([1, 2, 3]);
    for (const id of [`job/${second}`, "job/..", "job/..%2Ffiles", "job/ftjob-0/x", "job/"])
      expect((await server.app.request(`/dashboard/runs/${id}`)).status, id).toBe(404);
  });

  test("a failed one says why, a finished one its model; a file that was deleted has no name", async () => {
    const [failed, done] = [await newJob(), await newJob()];
    const error = { code: "input", message: "it was not to be", param: null };
    jobs.folder.jobs.move(failed, ["queued"], "failed", { error });
    jobs.folder.jobs.move(done, ["queued"], "succeeded", { fineTunedModel: "ft:tiny::1" });
    await jobs.deleteFile(jobs.get(failed).trainingFile);
    expect((await status()).jobs?.list).toMatchObject([
      { status: "succeeded", model: "ft:tiny::1", error: null },
      { status: "failed", model: null, error: "it was not to be", file: null },
    ]);
  });

  test("adapters of jobs are trained on a file by its own name, checkpoints too", async () => {
    const id = await newJob();
    const run = jobs.folder.runPath(id);
    await writeRun(run, { log: "" });
    const { trainingFile: file } = jobs.get(id);
    await writeFile(join(run, "run.json"), JSON.stringify({ data: [`/somewhere/${file}.jsonl`] }));
    for (const name of ["adapter", "checkpoints/step-4"]) {
      await mkdir(join(run, name), { recursive: true });
      await server.engine.loadAdapter(name, join(run, name));
    }
    const { adapters } = await status();
    expect(adapters.map(({ trainedOn }) => trainedOn)).toEqual(["mine.jsonl", "mine.jsonl"]);
  });

  test("the form offers options with the methods that have them", async () => {
    const options = await read<JobOption[]>("/dashboard/job-options");
    const byKey = new Map(options.map((one) => [one.key, one]));
    expect(byKey.get("method")).toMatchObject({
      choices: expect.arrayContaining(["lora", "bitfit"]),
      methods: null,
    });
    expect(byKey.get("rank")).toMatchObject({
      isNumber: true,
      choices: null,
      description: "rank of the update",
    });
    expect(byKey.get("rank")?.methods).toContain("lora");
    expect(byKey.get("rank")?.methods).not.toContain("bitfit");
    expect(byKey.get("epochs")?.methods).toBeNull();
    expect(byKey.get("maxLength")?.defaultText).toMatch(/^512/);
    expect((await fakeServer().app.request("/dashboard/job-options")).status).toBe(404);
  });
});

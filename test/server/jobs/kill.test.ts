import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import OpenAI, { toFile } from "openai";
import { afterAll, expect, test } from "vitest";
import { random } from "../../../src/tensor/random.ts";
import { distFile } from "../../cli/run-cli.ts";
import { modelPath } from "../../generate/loading.ts";
import { QUICK, rows } from "./job-server.ts";

/** How often the server is killed: more by LOWRANK_KILLS, with another LOWRANK_SEED. */
const KILLS = Number(process.env.LOWRANK_KILLS ?? 4);
const SEED = Number(process.env.LOWRANK_SEED ?? 1);
/** About as long as a start, an upload and a job take. */
const LONGEST_MS = 3500;

const folder = await mkdtemp(join(tmpdir(), "lowrank-kill-"));
const started: ChildProcess[] = [];

afterAll(async () => {
  for (const child of started) child.kill("SIGKILL");
  await rm(folder, { recursive: true, force: true });
});

interface Server {
  readonly openai: OpenAI;
  kill(signal: "SIGKILL" | "SIGTERM"): Promise<number | null>;
}

async function start(): Promise<Server> {
  const args = [
    "serve",
    modelPath("llama"),
    "--port",
    "0",
    "--threads",
    "1",
    "--job-threads",
    "1",
    "--offline",
  ];
  const env = { ...process.env, LOWRANK_CACHE: join(folder, "cache") };
  const child = spawn(
    process.execPath,
    [distFile("cli/main.js"), ...args, "--data-dir", join(folder, "data")],
    {
      env,
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  started.push(child);
  let [stdout, stderr] = ["", ""];
  child.stderr?.on("data", (data) => {
    stderr += data;
  });
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
  const url = await new Promise<string>((resolve, reject) => {
    child.stdout?.on("data", (data) => {
      stdout += data;
      const found = /(http:\S+) answers as/.exec(stdout)?.[1];
      if (found) resolve(found);
    });
    child.once("close", () => reject(new Error(stderr)));
  });
  return {
    openai: new OpenAI({ baseURL: url, apiKey: "none", maxRetries: 0 }),
    kill: (signal) => {
      child.kill(signal);
      return ended;
    },
  };
}

/** What was answered for: it may not be lost. */
const files = new Map<string, string>();
const jobs = new Set<string>();

/** Uploads and starts jobs until the server is gone. */
async function work({ openai }: Server, round: number): Promise<void> {
  try {
    for (let i = 0; ; i++) {
      const text = rows(40 + 400 * ((round + i) % 3));
      const file = await toFile(Buffer.from(text), `${round}-${i}.jsonl`);
      const { id } = await openai.files.create({ file, purpose: "fine-tune" });
      files.set(id, text);
      if (i > 0) continue;
      const lowrank = { ...QUICK, maxSteps: 40, checkpointEvery: 10, keepCheckpoints: 2 };
      const job = await openai.fineTuning.jobs.create({
        model: "llama",
        training_file: id,
        lowrank,
      } as never);
      jobs.add(job.id);
    }
  } catch {
    // The server is gone.
  }
}

test(`a server that is killed ${KILLS} times at any moment loses nothing it answered for, and runs nothing twice`, async () => {
  const draw = random(SEED, "kills");
  for (let round = 0; round < KILLS; round++) {
    const server = await start();
    const working = work(server, round);
    await delay(draw.uniform() * LONGEST_MS);
    await server.kill("SIGKILL");
    await working;
  }
  const server = await start();
  const { openai } = server;
  const all: OpenAI.FineTuning.FineTuningJob[] = [];
  for await (const job of openai.fineTuning.jobs.list()) all.push(job);
  expect(all.map(({ id }) => id)).toEqual(expect.arrayContaining([...jobs]));
  for (const { id } of all) {
    let job = await openai.fineTuning.jobs.retrieve(id);
    while (job.status === "queued" || job.status === "running") {
      await delay(100);
      job = await openai.fineTuning.jobs.retrieve(id);
    }
    expect(job, JSON.stringify({ seed: SEED, job })).toMatchObject({ status: "succeeded", error: null });
    const messages: string[] = [];
    for await (const event of openai.fineTuning.jobs.listEvents(id, { limit: 100 }))
      messages.push(event.message);
    expect(messages.filter((text) => text === "The job has successfully completed")).toHaveLength(1);
    const metrics = await readFile(join(folder, "data", "runs", id, "metrics.jsonl"), "utf8");
    const steps = metrics
      .split("\n")
      .flatMap((line) => (line.includes('"type":"step"') ? [JSON.parse(line).step] : []));
    expect(steps).toEqual(Array.from({ length: 40 }, (_, i) => i + 1));
    const model = job.fine_tuned_model ?? "";
    const ask = { model, messages: [{ role: "user" as const, content: "What is 1 and 1?" }], max_tokens: 2 };
    expect((await openai.chat.completions.create(ask)).choices).toHaveLength(1);
  }
  for (const [id, text] of files) expect(await (await openai.files.content(id)).text()).toBe(text);
  const known: string[] = [];
  for await (const { id, purpose } of openai.files.list())
    known.push(`${id}.${purpose === "fine-tune" ? "jsonl" : "csv"}`);
  expect((await readdir(join(folder, "data", "files"))).sort()).toEqual(known.sort());
  expect(await server.kill("SIGTERM")).toBe(0);
}, 600_000);

/** Longer than deleting takes. */
const DELETING_MS = 30;

test("a model that is deleted while the server is killed is there whole, or not at all", async () => {
  const draw = random(SEED, "deleting");
  const whole = async ({ openai }: Server, id: string): Promise<boolean> => {
    const { fine_tuned_model: model } = await openai.fineTuning.jobs.retrieve(id);
    const listed = (await openai.models.list()).data.map((one) => one.id);
    const own = listed.filter((name) => name.startsWith(model ?? "?"));
    const isThere = (await readdir(join(folder, "data", "runs"))).includes(id);
    expect(own.includes(model ?? ""), JSON.stringify({ seed: SEED, id, own })).toBe(isThere);
    for (const name of own)
      await openai.chat.completions.create({
        model: name,
        messages: [{ role: "user", content: "Hi" }],
        max_tokens: 1,
      });
    return isThere;
  };
  let server = await start();
  const ids = (await server.openai.fineTuning.jobs.list()).data.map(({ id }) => id).slice(0, KILLS);
  expect(ids.length).toBeGreaterThan(0);
  for (const id of ids) {
    expect(await whole(server, id)).toBe(true);
    const { fine_tuned_model: model } = await server.openai.fineTuning.jobs.retrieve(id);
    const deleting = server.openai.models.delete(model ?? "").catch(() => null);
    await delay(draw.uniform() * DELETING_MS);
    await server.kill("SIGKILL");
    const answer = await deleting;
    server = await start();
    const isThere = await whole(server, id);
    if (answer !== null) expect(isThere).toBe(false);
    if (isThere) expect(await server.openai.models.delete(model ?? "")).toMatchObject({ deleted: true });
    expect(await whole(server, id)).toBe(false);
    expect(await readdir(join(folder, "data", "discarded"))).toEqual([]);
  }
  expect(await server.kill("SIGTERM")).toBe(0);
}, 600_000);

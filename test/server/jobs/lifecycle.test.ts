import { readdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type OpenAI from "openai";
import { afterEach, describe, expect, test, vi } from "vitest";
import { openDatabase } from "../../../src/server/jobs/database.ts";
import type { ProcessIdentity } from "../../../src/train/process.ts";
import { type JobServer, jobServer, QUICK, rows } from "./job-server.ts";

type Job = OpenAI.FineTuning.FineTuningJob;

let server: JobServer;

afterEach(() => server.close());

/** Longer than any test. */
const LONG = { ...QUICK, maxSteps: 1_000_000, checkpointEvery: 40, keepCheckpoints: 2 };

const create = (training_file: string, lowrank: object = QUICK): Promise<Job> =>
  server.openai.fineTuning.jobs.create({ model: "tiny", training_file, lowrank } as never);

async function waitFor(id: string, isReached: (job: Job) => boolean): Promise<Job> {
  for (;;) {
    const job = await server.openai.fineTuning.jobs.retrieve(id);
    if (isReached(job)) return job;
    await delay(30);
  }
}

const ended = (job: Job): boolean => ["succeeded", "failed", "cancelled"].includes(job.status);

async function checkpointsOf(id: string): Promise<number[]> {
  const { data } = await server.openai.fineTuning.jobs.checkpoints.list(id);
  return data.map(({ step_number }) => step_number);
}

async function hasCheckpoint(id: string): Promise<void> {
  while ((await checkpointsOf(id)).length === 0) await delay(30);
}

/** Process of a job, as the server has written it down. */
async function processOf(id: string): Promise<ProcessIdentity | null> {
  const db = await openDatabase(join(server.folder, "jobs.db"));
  try {
    const row = db.one<{ process: string | null }>("SELECT process FROM jobs WHERE id = ?", id);
    return JSON.parse(row?.process ?? "null") as ProcessIdentity | null;
  } finally {
    db.close();
  }
}

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

async function messagesOf(id: string): Promise<string[]> {
  const messages = [];
  for await (const { message } of server.openai.fineTuning.jobs.listEvents(id, { limit: 100 }))
    messages.push(message);
  return messages;
}

describe("one after the other", () => {
  test("a running job is cancelled at once and ends; the next one starts; a queued one is cancelled too", async () => {
    server = await jobServer();
    const { id: file } = await server.upload(rows(40));
    const [first, second, third] = [await create(file, LONG), await create(file), await create(file)];
    await hasCheckpoint(first.id);
    expect((await server.openai.fineTuning.jobs.retrieve(second.id)).status).toBe("queued");
    expect((await server.openai.fineTuning.jobs.cancel(third.id)).status).toBe("cancelled");
    const pid = (await processOf(first.id))?.pid ?? 0;
    expect(isAlive(pid)).toBe(true);
    expect((await server.openai.fineTuning.jobs.cancel(first.id)).status).toBe("cancelled");
    expect((await server.openai.fineTuning.jobs.cancel(first.id)).status).toBe("cancelled");
    expect((await waitFor(second.id, ended)).status).toBe("succeeded");
    expect(isAlive(pid)).toBe(false);
    await expect(server.openai.fineTuning.jobs.cancel(second.id)).rejects.toMatchObject({ status: 400 });
    // What it has learned stays, and no more checkpoints than asked for.
    const steps = await checkpointsOf(first.id);
    expect(steps.length).toBeGreaterThan(0);
    expect(steps.length).toBeLessThanOrEqual(2);
    const onDisk = await readdir(join(server.folder, "runs", first.id, "checkpoints"));
    expect(onDisk).toHaveLength(steps.length);
    const names = (await server.openai.models.list()).data.map(({ id }) => id);
    expect(
      names.filter((name) => name.includes("ckpt-step") && name.includes(first.id.slice(6))),
    ).toHaveLength(steps.length);
  });

  test("a paused job goes on from its checkpoint", async () => {
    server = await jobServer();
    const { id: file } = await server.upload(rows(40));
    const { id } = await create(file, { ...LONG, maxSteps: 300 });
    await hasCheckpoint(id);
    expect((await server.openai.fineTuning.jobs.pause(id)).status).toBe("paused");
    while ((await processOf(id)) !== null) await delay(30);
    expect((await server.openai.fineTuning.jobs.retrieve(id)).status).toBe("paused");
    expect((await server.openai.fineTuning.jobs.resume(id)).status).toBe("queued");
    expect((await waitFor(id, ended)).status).toBe("succeeded");
    const messages = await messagesOf(id);
    expect(messages.find((message) => /Training goes on after step [1-9]/.test(message))).toBeDefined();
    expect(messages.filter((message) => message === "The job has successfully completed")).toHaveLength(1);
  });
});

describe("what goes wrong", () => {
  test("a process that is killed fails its job, not the server", async () => {
    server = await jobServer();
    const { id: file } = await server.upload(rows(40));
    const [first, second] = [await create(file, LONG), await create(file)];
    while ((await processOf(first.id)) === null) await delay(10);
    process.kill((await processOf(first.id))?.pid ?? 0, "SIGKILL");
    expect(await waitFor(first.id, ended)).toMatchObject({
      status: "failed",
      error: { code: "training_crashed", message: expect.stringContaining("SIGKILL") },
    });
    expect((await waitFor(second.id, ended)).status).toBe("succeeded");
  });

  test("a disk that does not take a run fails the job with its reason; options that do not fit the model make none", async () => {
    server = await jobServer();
    const { id: file } = await server.upload(rows(12));
    await expect(create(file, { ...QUICK, targetModules: ["nothing_like_it"] })).rejects.toMatchObject({
      status: 400,
      message: expect.stringContaining("nothing_like_it"),
    });
    await rename(join(server.folder, "runs"), join(server.folder, "moved"));
    await writeFile(join(server.folder, "runs"), "in the way");
    const { id } = await create(file);
    const job = await waitFor(id, ended);
    expect(job).toMatchObject({ status: "failed", error: { code: "storage" } });
    expect(job.error?.message).not.toContain(server.folder);
    await rm(join(server.folder, "runs"));
    await rename(join(server.folder, "moved"), join(server.folder, "runs"));
    expect((await waitFor((await create(file)).id, ended)).status).toBe("succeeded");
  });

  test("a stream of events goes along with the job to its end", async () => {
    server = await jobServer();
    const { id: file } = await server.upload(rows(24));
    const { id } = await create(file, { ...QUICK, checkpointEvery: 2 });
    const response = await fetch(`${server.url}/v1/fine_tuning/jobs/${id}/events?stream=true`);
    expect(response.headers.get("content-type")).toContain("text/event-stream");
    const lines = (await response.text()).split("\n\n").filter((line) => line.startsWith("data: "));
    expect(lines.at(-1)).toBe("data: [DONE]");
    const messages = lines.slice(0, -1).map((line) => JSON.parse(line.slice(6)).message as string);
    expect(messages).toEqual((await messagesOf(id)).reverse());
    expect(messages.at(-1)).toBe("The job has successfully completed");
  });
});

describe("a server that stops", () => {
  test("writes a checkpoint, and the next one goes on; what is done is there again", async () => {
    const told: unknown[] = [];
    const take = (event: string, fields: object = {}): void => void told.push({ event, ...fields });
    server = await jobServer({}, undefined, { info: take, warn: take, error: take });
    const { folder } = server;
    const { id: file } = await server.upload(rows(40));
    const done = await waitFor((await create(file)).id, ended);
    const { id } = await create(file, { ...LONG, maxSteps: 400 });
    const queued = await create(file);
    await hasCheckpoint(id);
    const pid = (await processOf(id))?.pid ?? 0;
    await server.stop(0);
    await server.engine.close();
    expect(told).toContainEqual({
      event: "stopping",
      running: 0,
      waiting: 0,
      jobs: 1,
      jobsWithinSeconds: 60,
    });
    expect(isAlive(pid)).toBe(false);
    server = await jobServer({ dataDir: folder });
    const model = done.fine_tuned_model ?? "";
    const ask = { model, messages: [{ role: "user" as const, content: "What is 1 and 1?" }], max_tokens: 4 };
    expect((await server.openai.chat.completions.create(ask)).choices).toHaveLength(1);
    expect((await waitFor(id, ended)).status).toBe("succeeded");
    expect((await waitFor(queued.id, ended)).status).toBe("succeeded");
    expect(await messagesOf(id)).toEqual(
      expect.arrayContaining([expect.stringMatching(/^Training goes on after step [1-9]/)]),
    );
  });
});

test("a file whose time is over is deleted, unless a job that has not ended needs it", async () => {
  server = await jobServer();
  const { folder, openai } = server;
  const upload = (): Promise<OpenAI.FileObject> =>
    openai.files.create({
      file: new File([rows(40)], "rows.jsonl"),
      purpose: "fine-tune",
      expires_after: { anchor: "created_at", seconds: 3600 },
    });
  const [used, unused, kept] = [await upload(), await upload(), await server.upload(rows(2))];
  expect(used.expires_at).toBe(used.created_at + 3600);
  expect(kept.expires_at).toBeUndefined();
  const { id } = await create(used.id, LONG);
  await hasCheckpoint(id);
  const db = await openDatabase(join(folder, "jobs.db"));
  db.run("UPDATE files SET expires_at = 1 WHERE expires_at IS NOT NULL");
  db.close();
  const names = async (): Promise<string[]> => (await readdir(join(folder, "files"))).sort();
  const namesOf = (...files: { id: string }[]): string[] => files.map(({ id }) => `${id}.jsonl`).sort();
  const restart = async (): Promise<void> => {
    await server.stop(0);
    await server.engine.close();
    server = await jobServer({ dataDir: folder });
  };
  await restart();
  await vi.waitFor(async () => expect(await names()).toEqual(namesOf(used, kept)));
  await expect(server.openai.files.retrieve(unused.id)).rejects.toMatchObject({ status: 404 });
  await server.openai.fineTuning.jobs.cancel(id);
  await restart();
  await vi.waitFor(async () => expect(await names()).toEqual(namesOf(kept)));
});

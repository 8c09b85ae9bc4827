import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type OpenAI from "openai";
import { afterEach, expect, test } from "vitest";
import { openDatabase } from "../../../src/server/jobs/database.ts";
import { type JobServer, jobServer, QUICK, rows } from "./job-server.ts";

type Job = OpenAI.FineTuning.FineTuningJob;

let server: JobServer;

afterEach(() => server.close());

const create = (training_file: string, more: object, lowrank: object = {}): Promise<Job> =>
  server.openai.fineTuning.jobs.create({
    ...{ model: "tiny", training_file, lowrank: { ...QUICK, ...lowrank } },
    ...more,
  } as never);

async function ended(id: string): Promise<Job> {
  for (;;) {
    const job = await server.openai.fineTuning.jobs.retrieve(id);
    if (["succeeded", "failed", "cancelled"].includes(job.status)) return job;
    await delay(30);
  }
}

const names = async (): Promise<string[]> => (await server.openai.models.list()).data.map(({ id }) => id);

const runs = (): Promise<string[]> => readdir(join(server.folder, "runs"));

const ask = (model: string): Promise<unknown> =>
  server.openai.chat.completions.create({
    model,
    messages: [{ role: "user", content: "Hi" }],
    max_tokens: 2,
  });

async function restarted(between: () => Promise<void>): Promise<void> {
  const { folder } = server;
  await server.stop(0);
  await server.engine.close();
  await between();
  server = await jobServer({ dataDir: folder });
}

test("a model is deleted with its checkpoints and files, a checkpoint alone, and what runs is kept", async () => {
  server = await jobServer();
  const { id: file } = await server.upload(rows(24));
  const job = await ended((await create(file, { suffix: "a.b" }, { checkpointEvery: 2, maxSteps: 6 })).id);
  const kept = await ended((await create(file, {}, { maxSteps: 2 })).id);
  const model = job.fine_tuned_model ?? "";
  const checkpoint = `${model}:ckpt-step-4`;
  expect(await names()).toEqual(expect.arrayContaining([model, checkpoint]));
  await ask(checkpoint);
  expect(await server.openai.models.delete(checkpoint)).toEqual({
    id: checkpoint,
    object: "model",
    deleted: true,
  });
  expect(await names()).not.toContain(checkpoint);
  await expect(ask(checkpoint)).rejects.toMatchObject({ status: 404 });
  const { data } = await server.openai.fineTuning.jobs.checkpoints.list(job.id);
  expect(data.map(({ step_number }) => step_number)).toEqual([6, 2]);
  expect(await readdir(join(server.folder, "runs", job.id, "checkpoints"))).toEqual([
    "step-0000002",
    "step-0000006",
  ]);
  await ask(model);
  expect(await server.openai.models.delete(model)).toMatchObject({ deleted: true });
  expect((await names()).filter((name) => name.startsWith(model))).toEqual([]);
  expect(await runs()).toEqual([kept.id]);
  expect(await readdir(join(server.folder, "discarded"))).toEqual([]);
  await expect(ask(model)).rejects.toMatchObject({ status: 404 });
  for (const gone of [model, checkpoint, `${kept.fine_tuned_model}:ckpt-step-9`, "ft:other::00"])
    await expect(server.openai.models.delete(gone)).rejects.toMatchObject({ status: 404 });
  await expect(server.openai.models.delete("tiny")).rejects.toMatchObject({ status: 400 });
  // The job is still known, as OpenAI's are.
  expect(await server.openai.fineTuning.jobs.retrieve(job.id)).toMatchObject({ status: "succeeded" });
  await ask(kept.fine_tuned_model ?? "");
  await restarted(async () => undefined);
  expect((await names()).filter((name) => name.startsWith(model))).toEqual([]);
  await ask(kept.fine_tuned_model ?? "");
}, 60_000);

test("nothing of a job that has not ended is deleted; what one that was cancelled has left is", async () => {
  server = await jobServer();
  const { id: file } = await server.upload(rows(24));
  const { id } = await create(file, {}, { maxSteps: 1_000_000, checkpointEvery: 20 });
  const checkpoints = async (): Promise<string[]> =>
    (await server.openai.fineTuning.jobs.checkpoints.list(id)).data.map(
      (one) => one.fine_tuned_model_checkpoint,
    );
  while ((await checkpoints()).length === 0) await delay(30);
  const name = `ft:tiny::${id.replace("ftjob-", "")}`;
  for (const one of [name, (await checkpoints())[0] ?? ""])
    await expect(server.openai.models.delete(one)).rejects.toMatchObject({
      status: 409,
      code: "model_in_use",
    });
  await server.openai.fineTuning.jobs.cancel(id);
  while ((await server.openai.models.delete(name).catch((error) => error.status)) === 409) await delay(30);
  expect(await runs()).toEqual([]);
  expect(await checkpoints()).toEqual([]);
}, 60_000);

test("what a killed server had not removed goes at the next start; adapters are read when they are asked for", async () => {
  server = await jobServer();
  const { id: file } = await server.upload(rows(24));
  const jobs: Job[] = [];
  for (let i = 0; i < 3; i++) jobs.push(await ended((await create(file, {}, { maxSteps: 2 })).id));
  const [half, damaged, whole] = jobs as [Job, Job, Job];
  await restarted(async () => {
    // Deleted in the database, and not yet on disk.
    const db = await openDatabase(join(server.folder, "jobs.db"));
    db.run("UPDATE jobs SET deleted_at = 1 WHERE id = ?", half.id);
    db.run("DELETE FROM checkpoints WHERE job_id = ?", half.id);
    db.close();
    await mkdir(join(server.folder, "discarded", "step-0000002-aa"));
    await writeFile(
      join(server.folder, "runs", damaged.id, "adapter", "adapter_model.safetensors"),
      "no weights",
    );
  });
  expect(await runs()).toEqual([damaged.id, whole.id].sort());
  expect(await readdir(join(server.folder, "discarded"))).toEqual([]);
  const listed = await names();
  expect(listed).not.toContain(half.fine_tuned_model);
  expect(listed).toEqual(expect.arrayContaining([damaged.fine_tuned_model, whole.fine_tuned_model]));
  expect(server.engine.adapters[whole.fine_tuned_model ?? ""]).toMatchObject({ methods: ["lora"] });
  const { parameters } = server.engine.adapters[whole.fine_tuned_model ?? ""] ?? {};
  await ask(whole.fine_tuned_model ?? "");
  expect(server.engine.adapters[whole.fine_tuned_model ?? ""]?.parameters).toBe(parameters);
  await expect(ask(damaged.fine_tuned_model ?? "")).rejects.toMatchObject({ status: 400 });
  await rm(join(server.folder, "runs", damaged.id), { recursive: true });
  expect(await server.openai.models.delete(damaged.fine_tuned_model ?? "")).toMatchObject({ deleted: true });
}, 60_000);

test("a finished job has a file of what was measured", async () => {
  server = await jobServer();
  const [training, validation] = [await server.upload(rows(24)), await server.upload(rows(10))];
  const job = await ended(
    (await create(training.id, { validation_file: validation.id }, { maxSteps: 4, evalEvery: 2 })).id,
  );
  const [id] = job.result_files;
  const text = await (await server.openai.files.content(id ?? "")).text();
  const [head, ...lines] = text.trimEnd().split("\n");
  expect(head).toBe("step,train_loss,valid_loss,valid_mean_token_accuracy");
  expect(lines.map((line) => line.split(",")[0])).toEqual(["0", "1", "2", "3", "4"]);
  expect(lines[1]).toMatch(/^1,\d+\.\d+,,$/);
  expect(lines[2]).toMatch(/^2(,\d+(\.\d+)?){3}$/);
  expect(await server.openai.files.retrieve(id ?? "")).toMatchObject({
    ...{ object: "file", purpose: "fine-tune-results", filename: "step_metrics.csv", bytes: text.length },
  });
  const found = await server.openai.files.list({ purpose: "fine-tune-results" });
  expect(found.data.map((one) => one.id)).toEqual([id]);
  await expect(create(id ?? "", {})).rejects.toMatchObject({ status: 400, code: "invalid_file_purpose" });
  const { data } = await server.openai.fineTuning.jobs.checkpoints.list(job.id);
  expect(data.at(-1)?.metrics.valid_mean_token_accuracy).toBeGreaterThanOrEqual(0);
  // What was measured goes with the file, not with the model.
  await server.openai.models.delete(job.fine_tuned_model ?? "");
  expect(await (await server.openai.files.content(id ?? "")).text()).toBe(text);
}, 60_000);

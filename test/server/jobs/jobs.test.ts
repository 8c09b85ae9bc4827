import { setTimeout as delay } from "node:timers/promises";
import type OpenAI from "openai";
import type { FineTuningJob } from "openai/resources/fine-tuning/jobs/jobs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encoderFolder } from "../../models/encoders.ts";
import { type JobServer, jobServer, QUICK, rows } from "./job-server.ts";

let server: JobServer;
let openai: OpenAI;

beforeAll(async () => {
  server = await jobServer();
  openai = server.openai;
});

afterAll(() => server.close());

/** What the package's documentation shows (openai-node, examples/fine-tuning.ts). */
async function polled(job: FineTuningJob): Promise<FineTuningJob> {
  let fineTune = job;
  while (fineTune.status === "running" || fineTune.status === "queued") {
    fineTune = await openai.fineTuning.jobs.retrieve(fineTune.id);
    await delay(50);
  }
  return fineTune;
}

// `lowrank` is ours: the package passes on what it does not know.
function createJob(
  body: Record<string, unknown>,
  headers: Record<string, string> = {},
): Promise<FineTuningJob> {
  const params = { model: "tiny", ...body } as unknown as OpenAI.FineTuning.JobCreateParams;
  return openai.fineTuning.jobs.create(params, { headers });
}

test("an encoder learns classes, and its adapter makes embeddings", async () => {
  const own = await jobServer({}, encoderFolder("bert"));
  try {
    const texts = Array.from({ length: 12 }, (_, i) => JSON.stringify({ text: `film ${i}`, label: i % 2 }));
    const file = await own.upload(`${texts.join("\n")}\n`);
    const lowrank = { rank: 2, maxLength: 32, warmupSteps: 0, maxSteps: 3, learningRate: 0.01 };
    const params = { model: "tiny", training_file: file.id, lowrank };
    let job = await own.openai.fineTuning.jobs.create(params as never);
    while (job.status === "queued" || job.status === "running") {
      await delay(50);
      job = await own.openai.fineTuning.jobs.retrieve(job.id);
    }
    expect(job).toMatchObject({ status: "succeeded", error: null });
    const vectorOf = async (model: string): Promise<number[]> =>
      (await own.openai.embeddings.create({ model, input: "film" })).data[0]?.embedding ?? [];
    const [base, tuned] = [await vectorOf("tiny"), await vectorOf(job.fine_tuned_model ?? "")];
    expect(tuned).toHaveLength(base.length);
    expect(tuned).not.toEqual(base);
  } finally {
    await own.close();
  }
}, 60_000);

describe("the openai package", () => {
  test("uploads, trains, polls, lists events and checkpoints, and chats with the result", async () => {
    const [training, validation] = [
      await server.upload(rows(24)),
      await server.upload(rows(10), "held-out.jsonl"),
    ];
    const job = await createJob({
      training_file: training.id,
      validation_file: validation.id,
      suffix: "sums",
      seed: 7,
      metadata: { team: "a" },
      method: { type: "supervised", supervised: { hyperparameters: { n_epochs: 2, batch_size: 4 } } },
      lowrank: { ...QUICK, evalEvery: 4, checkpointEvery: 4 },
    });
    expect(job).toMatchObject({
      object: "fine_tuning.job",
      status: "queued",
      seed: 7,
      metadata: { team: "a" },
    });
    expect(job.hyperparameters).toEqual({ n_epochs: 2, batch_size: 4, learning_rate_multiplier: 1 });
    const done = await polled(job);
    const name = `ft:tiny:sums:${job.id.replace("ftjob-", "")}`;
    expect(done).toMatchObject({ status: "succeeded", fine_tuned_model: name, error: null });
    expect(done.trained_tokens).toBeGreaterThan(0);
    expect(done.finished_at).toBeGreaterThanOrEqual(done.created_at);
    const events = [];
    for await (const event of openai.fineTuning.jobs.listEvents(job.id, { limit: 3 })) events.push(event);
    expect(events[0]?.message).toBe("The job has successfully completed");
    expect(events.at(-1)?.message).toBe(`Created fine-tuning job: ${job.id}`);
    expect(new Set(events.map(({ id }) => id)).size).toBe(events.length);
    expect(events.filter(({ type }) => type === "metrics").length).toBeGreaterThan(1);
    const checkpoints = [];
    for await (const one of openai.fineTuning.jobs.checkpoints.list(job.id)) checkpoints.push(one);
    expect(checkpoints.map(({ step_number }) => step_number)).toEqual([12, 8, 4]);
    expect(checkpoints[1]?.metrics.full_valid_loss).toBeGreaterThan(0);
    const models = [name, ...checkpoints.map((one) => one.fine_tuned_model_checkpoint)];
    for (const model of models) {
      const ask = {
        model,
        messages: [{ role: "user" as const, content: "What is 3 and 3?" }],
        max_tokens: 4,
      };
      expect((await openai.chat.completions.create(ask)).choices).toHaveLength(1);
    }
    expect((await openai.models.list()).data.map(({ id }) => id)).toEqual(expect.arrayContaining(models));
    const found = await openai.fineTuning.jobs.list({ metadata: { team: "a" } });
    expect(found.data.map(({ id }) => id)).toEqual([job.id]);
    expect((await openai.fineTuning.jobs.list({ metadata: { team: "b" } })).data).toEqual([]);
  });
});

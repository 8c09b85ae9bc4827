import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { JobPreview } from "../../../src/server/jobs/preview-object.ts";
import type { PlanEvent, PreviewEvent } from "../../../src/train/events.ts";
import { train } from "../../../src/train/trainer.ts";
import { modelPath } from "../../generate/loading.ts";
import { type JobServer, jobServer, QUICK, rows } from "./job-server.ts";

let server: JobServer;

beforeAll(async () => {
  server = await jobServer();
});

afterAll(() => server.close());

const ask = (body: object, signal?: AbortSignal): Promise<Response> =>
  fetch(`${server.url}/v1/fine_tuning/jobs/preview`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "tiny", ...body }),
    ...(signal && { signal }),
  });

async function preview(body: object): Promise<JobPreview> {
  const response = await ask(body);
  expect(response.status).toBe(200);
  return (await response.json()) as JobPreview;
}

async function refused(body: object): Promise<{ status: number; code: string; message: string }> {
  const response = await ask(body);
  const { error } = (await response.json()) as { error: { code: string; message: string } };
  return { status: response.status, ...error };
}

test("is what a dry run says, and leaves nothing behind", async () => {
  const { id: training_file } = await server.upload(rows(20));
  const lowrank = { ...QUICK, batchSize: 4, targetModules: ["q_proj", "v_proj"], validationFraction: 0.25 };
  const got = await preview({ training_file, seed: 7, lowrank });
  const [plan, examples] = await dryRun({
    ...lowrank,
    ...{ data: [join(server.folder, "files", `${training_file}.jsonl`)], seed: 7, epochs: 3, samples: 0 },
  });
  expect(got).toMatchObject({ model: "tiny", training_file, problems: [], problems_left_out: 0 });
  expect(got.lowrank).toMatchObject({ rank: 2, epochs: 3, batchSize: 4, method: "lora" });
  expect(Object.keys(got.lowrank)).not.toContain("output");
  expect(got.plan).toMatchObject({
    ...{ method: "lora", examples: 15, validation_examples: 5, steps: 12, steps_per_epoch: 4 },
    trained: [
      { name: "model.layers.*.self_attn.q_proj", count: 2 },
      { name: "model.layers.*.self_attn.v_proj", count: 2 },
    ],
    trainable_parameters: plan.trainableParameters,
    total_parameters: plan.totalParameters,
    trained_tokens: 3 * plan.tokensPerEpoch.labels,
    padded_tokens_per_epoch: plan.tokensPerEpoch.padded,
    packed_tokens_per_epoch: plan.tokensPerEpoch.trie,
    memory_bytes: plan.resources.memoryBytes,
  });
  expect(got.plan?.estimated_seconds).toBeGreaterThan(0);
  const texts = got.examples.map((pieces) =>
    pieces.map(({ text, is_label: isLabel }) => ({ text, isLabel })),
  );
  expect(texts).toEqual(
    examples.examples.map((spans) => spans.map(({ text, isLabel }) => ({ text, isLabel }))),
  );
  expect((await server.openai.fineTuning.jobs.list()).data).toEqual([]);
  expect(await readdir(join(server.folder, "runs"))).toEqual([]);
});

async function dryRun(options: object): Promise<[PlanEvent, PreviewEvent]> {
  const seen: (PlanEvent | PreviewEvent)[] = [];
  const fixed = { model: modelPath("llama"), offline: true, threads: 1, dryRun: true } as const;
  for await (const event of train({ ...options, ...fixed }))
    if (event.type === "plan" || event.type === "preview") seen.push(event);
  return seen as [PlanEvent, PreviewEvent];
}

test("what is wrong with a file is told line by line, the rest counted", async () => {
  const broken = Array.from({ length: 12 }, (_, i) => (i === 0 ? "{" : '{"messages": []}'));
  const { id: training_file } = await server.upload(`${rows(12)}${broken.join("\n")}\n`);
  const got = await preview({ training_file });
  expect(got).toMatchObject({ plan: null, examples: [], problems_left_out: 2 });
  expect(got.problems).toHaveLength(10);
  expect(got.problems[0]).toMatchObject({
    ...{ file: "training_file", where: "line 13", code: "invalid_json" },
    message: expect.stringContaining("not valid JSON"),
  });
  expect(got.problems[9]?.where).toBe("line 22");
  expect(JSON.stringify(got)).not.toContain(server.folder);
  const { id: few } = await server.upload(rows(3));
  const { id: good } = await server.upload(rows(12));
  expect((await preview({ training_file: few })).problems).toEqual([
    {
      file: "training_file",
      where: "file",
      code: null,
      message: expect.stringContaining("at least 10 examples"),
    },
  ]);
  const held = await preview({ training_file: good, validation_file: training_file });
  expect(held.problems[0]).toMatchObject({ file: "validation_file", where: "line 13" });
});

test("a request that no job could be made of is refused as there", async () => {
  const { id: training_file } = await server.upload(rows(12));
  expect(await refused({ training_file: "none" })).toMatchObject({ status: 400, code: "invalid_file_id" });
  expect(await refused({ training_file, lowrank: { rnak: 2 } })).toMatchObject({
    ...{ status: 400, code: "invalid_value" },
    message: expect.stringContaining("did you mean rank?"),
  });
  const unfit = await refused({ training_file, lowrank: { targetModules: ["nothing_like_it"] } });
  expect(unfit).toMatchObject({ status: 400, message: expect.stringContaining("nothing_like_it") });
  expect(unfit.message).not.toContain(server.folder);
});

test("one whose client leaves ends, and holds up nobody", async () => {
  const { id: training_file } = await server.upload(rows(12));
  const leaving = new AbortController();
  const left = Promise.all([1, 2].map(() => ask({ training_file }, leaving.signal).catch(() => "left")));
  setTimeout(() => leaving.abort(), 200);
  expect((await preview({ training_file, lowrank: QUICK })).plan).not.toBeNull();
  expect(await left).toEqual(["left", "left"]);
});

test("is described in /openapi.json", async () => {
  const { paths } = (await (await fetch(`${server.url}/openapi.json`)).json()) as {
    paths: Record<string, unknown>;
  };
  const text = JSON.stringify(paths["/v1/fine_tuning/jobs/preview"]);
  for (const field of ['"training_file"', '"estimated_seconds"', '"problems_left_out"'])
    expect(text).toContain(field);
});

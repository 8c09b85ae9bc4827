import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openBase } from "../../../src/models/base-model.ts";
import { type App, createApp } from "../../../src/server/app.ts";
import { type Jobs, openJobs } from "../../../src/server/jobs/jobs.ts";
import { noLog } from "../../../src/server/log.ts";
import { serverParts } from "../../../src/server/parts.ts";
import { listen } from "../../../src/server/serve.ts";
import { modelPath } from "../../generate/loading.ts";
import { errorIn, fakeEngine } from "../fake-engine.ts";
import { rows } from "./job-server.ts";

const MAX_BYTES = 200_000;
const JOBS = "/v1/fine_tuning/jobs";

let folder: string;
let jobs: Jobs;
let app: App;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "lowrank-create-"));
  // Jobs are planned on the base, and answers are not asked for.
  const base = await openBase(modelPath("llama"), { offline: true });
  const engine = Object.assign(fakeEngine(), { base });
  // None is started: what is tested is how jobs are made.
  const options = {
    baseName: "tiny",
    dataDir: folder,
    maxJobs: 0,
    maxFileBytes: MAX_BYTES,
    train: { model: "tiny" },
  };
  jobs = await openJobs(options, engine, noLog);
  app = createApp(serverParts({ engine, baseName: "tiny", jobs }));
});

afterAll(async () => {
  await jobs.close();
  await rm(folder, { recursive: true });
});

function form(text: string, name = "rows.jsonl", purpose: string | null = "fine-tune"): FormData {
  const data = new FormData();
  data.append("file", new Blob([text]), name);
  if (purpose !== null) data.append("purpose", purpose);
  return data;
}

const post = (
  path: string,
  body: string | FormData,
  headers: Record<string, string> = {},
): Promise<Response> => Promise.resolve(app.request(path, { method: "POST", body, headers }));

async function uploaded(text: string, name?: string): Promise<string> {
  const response = await post("/v1/files", form(text, name));
  expect(response.status).toBe(200);
  return ((await response.json()) as { id: string }).id;
}

const create = (body: object, headers: Record<string, string> = {}): Promise<Response> =>
  post(JOBS, JSON.stringify({ model: "tiny", ...body }), { "content-type": "application/json", ...headers });

const filesOnDisk = (): Promise<string[]> => readdir(jobs.folder.filesPath);

describe("/v1/files", () => {
  test("upload, list by pages, describe, content, delete", async () => {
    const text = rows(3);
    const ids = [
      await uploaded(text, "a.jsonl"),
      await uploaded(text, "b.jsonl"),
      await uploaded(text, "c.jsonl"),
    ];
    const list = async (query: string): Promise<{ data: { id: string }[]; has_more: boolean }> =>
      (await app.request(`/v1/files?${query}`)).json() as never;
    expect((await list("limit=2")).data.map(({ id }) => id)).toEqual([ids[2], ids[1]]);
    expect(await list(`limit=2&after=${ids[1]}`)).toMatchObject({ data: [{ id: ids[0] }], has_more: false });
    expect((await list("order=asc&limit=1")).data[0]?.id).toBe(ids[0]);
    expect((await list("purpose=batch")).data).toEqual([]);
    expect((await app.request("/v1/files?limt=2")).status).toBe(400);
    const file = await (await app.request(`/v1/files/${ids[0]}`)).json();
    expect(file).toMatchObject({ filename: "a.jsonl", bytes: Buffer.byteLength(text), purpose: "fine-tune" });
    expect(await (await app.request(`/v1/files/${ids[0]}/content`)).text()).toBe(text);
    for (const id of ids)
      expect((await app.request(`/v1/files/${id}`, { method: "DELETE" })).status).toBe(200);
    expect((await app.request(`/v1/files/${ids[0]}`)).status).toBe(404);
    expect((await app.request(`/v1/files/${ids[0]}/content`)).status).toBe(404);
    expect(await filesOnDisk()).toEqual([]);
  });

  test("what cannot be taken is refused with its reason, and leaves nothing", async () => {
    const twice = form(rows(1));
    twice.append("file", new Blob(["x"]), "y.jsonl");
    const expiring = (anchor: string, seconds: string): FormData => {
      const data = form(rows(1));
      data.append("expires_after[anchor]", anchor);
      data.append("expires_after[seconds]", seconds);
      return data;
    };
    const cases: [FormData, number, RegExp][] = [
      [form(rows(1), "x.jsonl", null), 400, /purpose: expected "fine-tune", got none/],
      [form(rows(1), "x.jsonl", "batch"), 400, /purpose: expected "fine-tune", got "batch"/],
      [form(rows(1), "x.exe"), 400, /file: expected a name that ends in \.jsonl/],
      [form("", "x.jsonl"), 400, /file: is empty/],
      [expiring("created_at", "60"), 400, /seconds\]: expected a number from 3600 to 2592000, got "60"/],
      [expiring("last_used", "1e4"), 400, /anchor\]: expected "created_at", got "last_used"; .*got "1e4"/s],
      [new FormData(), 400, /file: is missing|the form cannot be read/],
      [twice, 400, /more parts/],
      [form("x".repeat(MAX_BYTES + 1)), 413, /larger than 200000 bytes/],
    ];
    for (const [body, status, message] of cases) {
      const response = await post("/v1/files", body);
      expect({ status: response.status, message: (await errorIn(response)).message }).toEqual({
        status,
        message: expect.stringMatching(message),
      });
    }
    expect((await post("/v1/files", "{}", { "content-type": "application/json" })).status).toBe(415);
    const head = '--b\r\ncontent-disposition: form-data; name="file"; filename="x.jsonl"\r\n\r\n';
    const nameless = `${head}{}\r\n--b\r\ncontent-disposition: form-data; namer"x"\r\n\r\nfine-tune\r\n--b--\r\n`;
    // After the second the parser says nothing, not even that it ends.
    for (const damaged of [
      `${head}half`,
      `--b--b\r\n--b\r\n--b\r\n${head}{}\r\n--b--\r\n`,
      nameless,
      "",
      "--b",
    ]) {
      const response = await post("/v1/files", damaged, {
        "content-type": "multipart/form-data; boundary=b",
      });
      expect(response.status, damaged).toBe(400);
    }
    expect(await filesOnDisk()).toEqual([]);
  });

  test("a name that is a path names nothing on disk", async () => {
    const id = await uploaded(rows(1), "../../../etc/..\\x\u001b[2J.jsonl");
    expect(await (await app.request(`/v1/files/${id}`)).json()).toMatchObject({ filename: "x[2J.jsonl" });
    expect(await filesOnDisk()).toEqual([`${id}.jsonl`]);
    await jobs.deleteFile(id);
  });

  test("a client that leaves amid an upload leaves nothing; what an upload holds in memory is bounded", async () => {
    const server = await listen(app, { host: "127.0.0.1", port: 0 });
    const type = { "content-type": "multipart/form-data; boundary=b" };
    const sending = request(`${server.url}/v1/files`, { method: "POST", headers: type });
    sending.on("error", () => undefined);
    sending.write('--b\r\ncontent-disposition: form-data; name="file"; filename="x.jsonl"\r\n\r\n');
    sending.write("x".repeat(100_000));
    while ((await filesOnDisk()).length === 0) await delay(5);
    sending.destroy();
    while ((await filesOnDisk()).length > 0) await delay(5);
    await server.close(0, () => undefined);
  });
});

describe("POST /v1/fine_tuning/jobs", () => {
  test("everything that is wrong is told at once; places, the server's options and unknown ones are refused", async () => {
    const training_file = await uploaded(rows(12));
    const cases: [object, string, RegExp][] = [
      [{ training_file: "file-none" }, "invalid_file_id", /training_file: there is no file "file-none"/],
      [{ training_file, validation_file: "f" }, "invalid_file_id", /validation_file: there is no file/],
      [{ training_file, model: "gpt-4o" }, "model_not_found", /this server has tiny/],
      [{ training_file, suffix: "a/b" }, "invalid_value", /suffix: expected letters/],
      [{ training_file, metadata: { a: 1 } }, "invalid_value", /metadata\.a/],
      [{ training_file, method: { type: "dpo", dpo: {} } }, "unsupported_method", /dpo is not supported yet/],
      [{ training_file, method: { type: "reinforcement" } }, "unsupported_method", /reinforcement is not/],
      [{ training_file, n_epochs: 3 }, "invalid_value", /n_epochs: there is no such field/],
      [
        { training_file, lowrank: { output: "/etc", data: ["/etc/passwd"], rnak: 4, maxLength: -1 } },
        "invalid_value",
        /lowrank\.output: is a place on disk.*lowrank\.data: .*lowrank\.rnak: .*did you mean rank\?.*lowrank\.maxLength: /,
      ],
      [
        { training_file, lowrank: { momentum: 0.5 } },
        "invalid_value",
        /lowrank\.momentum: has no effect with adamw/,
      ],
      [
        { training_file, hyperparameters: { n_epochs: 2 }, lowrank: { epochs: 1 } },
        "invalid_value",
        /lowrank\.epochs: says the same as hyperparameters\.n_epochs/,
      ],
      [
        { training_file, lowrank: { promptField: "x" } },
        "invalid_value",
        /lowrank\.promptField: has no effect/,
      ],
    ];
    for (const [body, code, message] of cases) {
      const response = await create(body);
      expect(await errorIn(response), JSON.stringify(body)).toMatchObject({
        code,
        message: expect.stringMatching(message),
      });
      expect(response.headers.get("x-should-retry")).toBe("false");
    }
    expect(jobs.folder.jobs.withStatus("queued")).toEqual([]);
  });

  test("a file stays while a job on it is being made, and no longer where none is", async () => {
    const { signal } = new AbortController();
    const make = (training_file: string): Promise<unknown> =>
      jobs.create({ model: "tiny", training_file }, null, signal);
    const [good, few] = [await uploaded(rows(12)), await uploaded(rows(2))];
    const making = [make(good), make(few)];
    expect(jobs.folder.jobs.usesFile(good)).toBe(false);
    for (const id of [good, few]) await expect(jobs.deleteFile(id)).rejects.toMatchObject({ status: 409 });
    await expect(making[1]).rejects.toMatchObject({ code: "invalid_n_examples" });
    await jobs.deleteFile(few);
    jobs.cancel(((await making[0]) as { id: string }).id);
    await jobs.deleteFile(good);
  });

  test("what is wrong in a file has OpenAI's names and its line, and no path of the server", async () => {
    const broken = [
      "{",
      "[1]",
      '{"messages": [{"role": "user", "content": "a"}]}',
      '{"messages": [{"role": "boss", "content": "a"}, {"role": "assistant", "content": "b"}]}',
      '{"messages": [{"content": "a"}, {"role": "assistant", "content": "b"}]}',
      '{"messages": [{"role": "user"}, {"role": "assistant", "content": "b"}]}',
      '{"other": 1}',
    ];
    // The first row tells the format.
    const training_file = await uploaded(`${rows(12)}${broken.join("\n")}\n`);
    const error = await errorIn(await create({ training_file }));
    expect(error).toMatchObject({ code: "invalid_training_file", param: "training_file" });
    for (const line of [
      "line 13 (invalid_json)",
      "line 14 (data_type)",
      "line 15 (example_missing_assistant_message)",
      "line 16 (unrecognized_role)",
      "line 17 (message_missing_key)",
      "line 18 (missing_content)",
      "line 19 (missing_messages_list)",
    ])
      expect(error.message).toContain(line);
    expect(error.message).not.toContain(folder);
    const good = await uploaded(rows(12));
    expect(
      await errorIn(await create({ training_file: good, validation_file: training_file })),
    ).toMatchObject({
      code: "invalid_validation_file",
      param: "validation_file",
    });
    const few = await uploaded(rows(7));
    expect(await errorIn(await create({ training_file: few }))).toMatchObject({
      code: "invalid_n_examples",
      message: "Training file has 7 example(s), but must have at least 10 examples",
      param: "training_file",
    });
    const text = await uploaded("no JSON\n", "x.jsonl");
    expect((await errorIn(await create({ training_file: text }))).message).toContain(
      "Expected file to have JSONL format, where every line is a valid JSON dictionary",
    );
    expect(jobs.folder.jobs.withStatus("queued")).toEqual([]);
  });

  test("options that do not fit the model, or a job with a method for another kind of model, make no job", async () => {
    const training_file = await uploaded(rows(12));
    const cases: [object, RegExp][] = [
      [{ targetModules: ["nothing"] }, /lowrank\.target_?modules.*nothing/i],
      [{ maxLength: 4096 }, /lowrank\.maxLength: expected at most/],
      [{ task: "classification" }, /classification/],
    ];
    for (const [lowrank, message] of cases) {
      const refused = await create({ training_file, lowrank });
      expect([refused.status, (await errorIn(refused)).message]).toEqual([
        400,
        expect.stringMatching(message),
      ]);
    }
    expect(jobs.folder.jobs.withStatus("queued")).toEqual([]);
  });

  test("auto is said in numbers; what a job needs is not deleted", async () => {
    const training_file = await uploaded(rows(12));
    const auto = { n_epochs: "auto", batch_size: "auto", learning_rate_multiplier: "auto" };
    const method = { type: "supervised", supervised: { hyperparameters: auto } };
    const job = (await (await create({ training_file, method })).json()) as {
      id: string;
      hyperparameters: object;
    };
    expect(job.hyperparameters).toEqual({ n_epochs: 3, batch_size: 8, learning_rate_multiplier: 1 });
    const own = {
      training_file,
      lowrank: { epochs: 0.5, batchSize: 2, accumulation: 3, learningRate: 1e-3 },
    };
    const other = (await (await create(own)).json()) as typeof job;
    expect(other.hyperparameters).toEqual({ n_epochs: 0.5, batch_size: 6, learning_rate_multiplier: 5 });
    const gone = await app.request(`/v1/files/${training_file}`, { method: "DELETE" });
    expect([gone.status, (await errorIn(gone)).code]).toEqual([409, "file_in_use"]);
    for (const { id } of [job, other]) jobs.cancel(id);
    expect((await app.request(`/v1/files/${training_file}`, { method: "DELETE" })).status).toBe(200);
    expect(jobs.get(job.id).trainingFile).toBe(training_file);
  });

  test("a request with a key makes one job, also side by side; another request with it is a 409", async () => {
    const training_file = await uploaded(rows(12));
    const key = { "idempotency-key": "k-1" };
    const answers = await Promise.all([1, 2, 3].map(() => create({ training_file }, key)));
    const ids = await Promise.all(answers.map(async (one) => ((await one.json()) as { id: string }).id));
    expect(new Set(ids).size).toBe(1);
    expect(jobs.folder.jobs.withStatus("queued")).toHaveLength(1);
    const other = await create({ training_file, suffix: "x" }, key);
    expect([other.status, other.headers.get("x-should-retry")]).toEqual([409, "false"]);
    // One that failed may be sent again.
    const again = { "idempotency-key": "k-2" };
    expect((await create({ training_file: "none" }, again)).status).toBe(400);
    expect((await create({ training_file }, again)).status).toBe(200);
    for (const { id } of jobs.folder.jobs.withStatus("queued")) jobs.cancel(id);
  });

  test("what is in no state for it says so", async () => {
    const training_file = await uploaded(rows(12));
    const { id } = (await (await create({ training_file })).json()) as { id: string };
    const ask = async (action: string): Promise<[number, string]> => {
      const response = await post(`${JOBS}/${id}/${action}`, "");
      const body = (await response.json()) as { status?: string; error?: { code: string } };
      return [response.status, body.status ?? body.error?.code ?? ""];
    };
    expect(await ask("resume")).toEqual([200, "queued"]);
    expect(await ask("pause")).toEqual([200, "paused"]);
    expect(await ask("pause")).toEqual([200, "paused"]);
    expect(await ask("resume")).toEqual([200, "queued"]);
    expect(await ask("cancel")).toEqual([200, "cancelled"]);
    expect(await ask("cancel")).toEqual([200, "cancelled"]);
    expect(await ask("pause")).toEqual([400, "invalid_job_state"]);
    expect(await ask("resume")).toEqual([400, "invalid_job_state"]);
    expect((await post(`${JOBS}/none/cancel`, "")).status).toBe(404);
    const events = `${JOBS}/${id}/events`;
    expect((await app.request(`${events}?after=none`)).status).toBe(400);
    const live = await (await app.request(`${events}?stream=true`)).text();
    const lines = live.split("\n\n").filter((line) => line !== "");
    expect(lines[0]).toContain("Created fine-tuning job");
    expect(lines.at(-2)).toContain("The job was cancelled");
    expect(lines.at(-1)).toBe("data: [DONE]");
  });
});

test("what was half written is removed at the start; a folder has one server", async () => {
  const options = { baseName: "tiny", dataDir: folder, maxJobs: 0, train: { model: "tiny" } };
  await expect(openJobs(options, fakeEngine(), noLog)).rejects.toMatchObject({ code: "data_folder" });
  const id = await uploaded(rows(1));
  await writeFile(join(jobs.folder.filesPath, "file-1.partial.host.99999.abcdef12"), "half");
  await writeFile(join(jobs.folder.filesPath, "file-2.jsonl"), "renamed, and not written down");
  await jobs.close();
  jobs = await openJobs(options, fakeEngine(), noLog);
  expect(await filesOnDisk()).toEqual(expect.arrayContaining([`${id}.jsonl`]));
  expect((await filesOnDisk()).filter((name) => /file-[12]\./.test(name))).toEqual([]);
});

test("files and jobs are in /openapi.json; without them their routes are not there", async () => {
  const { paths } = (await (await app.request("/openapi.json")).json()) as { paths: Record<string, never> };
  expect(JSON.stringify(paths["/v1/files"])).toContain("multipart/form-data");
  expect(JSON.stringify(paths[JOBS])).toContain('"rank"');
  const bare = createApp(serverParts({ engine: fakeEngine(), baseName: "tiny" }));
  expect((await bare.request("/v1/files")).status).toBe(404);
});

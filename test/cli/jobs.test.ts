import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type JobServer, jobServer, QUICK, rows } from "../server/jobs/job-server.ts";
import { runCli } from "./run-cli.ts";

let server: JobServer;

beforeAll(async () => {
  server = await jobServer();
});

afterAll(() => server.close());

const jobs = (...args: string[]) => runCli(["jobs", ...args, "--url", `${server.url}/v1`]);

const create = async (lowrank: object): Promise<string> => {
  const { id } = await server.upload(rows(20));
  const job = await server.openai.fineTuning.jobs.create({
    model: "tiny",
    training_file: id,
    lowrank,
  } as never);
  return job.id;
};

describe("lowrank jobs", () => {
  test("follows a job to its end, lists, and cancels", async () => {
    const [first, second] = [await create(QUICK), await create({ ...QUICK, maxSteps: 1_000_000 })];
    const followed = await jobs("follow", first);
    expect(followed).toMatchObject({ exitCode: 0, stderr: "" });
    const lines = followed.stdout.trimEnd().split("\n");
    expect(lines[0]).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d {2}Created fine-tuning job: ftjob-/);
    expect(lines.at(-1)).toBe(`succeeded: ft:tiny::${first.slice("ftjob-".length)}`);
    const cancelled = await jobs("cancel", second);
    expect(cancelled.stdout).toContain(`${second}  cancelled`);
    const ended = await jobs("follow", second, "--json");
    expect(ended.exitCode).toBe(1);
    expect(JSON.parse(ended.stdout.split("\n")[0] as string)).toMatchObject({
      object: "fine_tuning.job.event",
    });
    const { stdout } = await jobs();
    expect(stdout.split("\n").map((line) => line.split(/ +/).slice(0, 2))).toEqual([
      [second, "cancelled"],
      [first, "succeeded"],
      [""],
    ]);
  });

  test("says what is wrong", async () => {
    const cases: [string[], number, RegExp][] = [
      [["delete"], 2, /expected one of list, follow, cancel, pause, resume, got delete/],
      [["cancel"], 2, /missing: the id of a job to cancel/],
      [["list", "x"], 2, /list takes no job, got x/],
      [["cancel", "../files"], 1, /there is no fine-tuning job/],
    ];
    for (const [args, exitCode, message] of cases) {
      const ran = await jobs(...args);
      expect({ exitCode: ran.exitCode, stderr: ran.stderr }).toEqual({
        exitCode,
        stderr: expect.stringMatching(message),
      });
    }
    const none = await runCli(["jobs", "--url", "http://127.0.0.1:9"]);
    expect(none).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("does not answer") });
    expect((await runCli(["jobs", "--url", "ftp://x"])).exitCode).toBe(2);
  });
});

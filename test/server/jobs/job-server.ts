import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import OpenAI, { toFile } from "openai";
import type { Engine } from "../../../src/generate/engine/engine.ts";
import { openEngine } from "../../../src/generate/engine/open.ts";
import type { JobsOptions } from "../../../src/server/jobs/jobs.ts";
import { type Log, noLog } from "../../../src/server/log.ts";
import { type StartedServer, startServer } from "../../../src/server/start.ts";
import { modelPath } from "../../generate/loading.ts";

/** Fields of a job that trains the tiny model in about a second. */
export const QUICK: Readonly<Record<string, unknown>> = { rank: 2, maxLength: 64, warmupSteps: 0 };

/** Rows of chat, as OpenAI has them, in JSON Lines. */
export function rows(count: number): string {
  const row = (i: number): string =>
    JSON.stringify({
      messages: [
        { role: "user", content: `What is ${i} and ${i % 7}?` },
        { role: "assistant", content: `That is ${i + (i % 7)}.` },
      ],
    });
  return `${Array.from({ length: count }, (_, i) => row(i)).join("\n")}\n`;
}

/** A server with jobs over the tiny model, and the stock client. */
export interface JobServer extends StartedServer {
  readonly engine: Engine;
  readonly openai: OpenAI;
  readonly folder: string;
  upload(text: string, name?: string): Promise<OpenAI.FileObject>;
  close(): Promise<void>;
}

/** Opens a server over a folder of jobs; a new folder unless one is named. */
export async function jobServer(
  jobs: Partial<JobsOptions> = {},
  model: string = modelPath("llama"),
  log: Log = noLog,
): Promise<JobServer> {
  const folder = jobs.dataDir ?? (await mkdtemp(join(tmpdir(), "lowrank-jobs-")));
  process.env.LOWRANK_CACHE ??= join(folder, "cache");
  const engine = await openEngine({ model, threads: 1, offline: true });
  const server = await startServer(engine, {
    ...{ baseName: "tiny", host: "127.0.0.1", port: 0, adapters: [], keys: [], origins: [], log },
    jobs: { dataDir: folder, maxJobs: 1, train: { model, threads: 1, offline: true }, ...jobs },
  });
  const openai = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "none", maxRetries: 0 });
  return {
    ...server,
    engine,
    openai,
    folder,
    upload: async (text, name = "rows.jsonl") =>
      openai.files.create({ file: await toFile(Buffer.from(text), name), purpose: "fine-tune" }),
    close: async () => {
      await server.stop(0);
      await engine.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

import { availableParallelism } from "node:os";
import { join } from "node:path";
import type { Command } from "commander";
import { z } from "zod";
import { baseModelOfAdapter } from "../formats/foreign-adapter.ts";
import type { Engine } from "../generate/engine/engine.ts";
import { resolveAdapter } from "../hub/resolve.ts";
import { dataFolder } from "../io/cache-folder.ts";
import { scanAdapters } from "../server/adapter-scan.ts";
import type { JobsOptions } from "../server/jobs/jobs.ts";
import { jsonLog } from "../server/log.ts";
import { baseNameOf } from "../server/model-names.ts";
import { startServer } from "../server/start.ts";
import { templateSettings } from "../text/template-options.ts";
import { type Cli, examples } from "./command.ts";
import { UsageError } from "./errors.ts";
import { watchInterrupts } from "./interrupt.ts";
import { importOpenEngine } from "./library.ts";
import { modelSettings, progressTo, warn } from "./model-settings.ts";
import { addSettings, settingsOf } from "./options.ts";
import { checkAccess, keysOf, serveSettings } from "./serve-settings.ts";

const { model, baseBits, device, threads, offline } = modelSettings;
const schema = z.strictObject({
  model,
  ...serveSettings,
  baseBits,
  device,
  threads,
  offline,
  ...templateSettings,
});

type Choice = z.output<typeof schema>;

/** `lowrank serve`: a base and its adapters over HTTP, as OpenAI's clients ask. */
export function build(command: Command, cli: Cli): void {
  addSettings(command.argument("[model]", "the base; the same as --model"), schema)
    .addHelpText(
      "after",
      examples([
        "lowrank serve",
        "lowrank serve smollm2-135m --adapters runs --port 9000",
        "lowrank serve minilm-l6",
        "LOWRANK_API_KEYS='sk-0123456789abcdef;rpm=60' lowrank serve --host 0.0.0.0",
      ]),
    )
    .action((named: string | undefined) => action(named, command, cli));
}

async function action(named: string | undefined, command: Command, cli: Cli): Promise<void> {
  const given = settingsOf(command, schema);
  if (named !== undefined && given.model !== null && given.model !== named)
    throw new UsageError(`two models are named: ${named} and --model ${given.model}`);
  const choice = { ...given, model: named ?? given.model };
  const keys = keysOf(choice, process.env.LOWRANK_API_KEYS);
  checkAccess(choice, keys);
  if (choice.offline && choice.allowHubAdapters.length > 0)
    throw new UsageError("--allow-hub-adapters has no effect with --offline");
  const interrupts = watchInterrupts(() => undefined);
  try {
    const name = choice.model ?? (await firstBase(choice.adapters)) ?? "smollm2-135m";
    const engine = await open(name, choice, cli, interrupts.signal);
    await serve(engine, name, choice, keys, cli, interrupts.signal).finally(() => engine.close());
  } finally {
    interrupts.dispose();
  }
}

async function open(name: string, choice: Choice, cli: Cli, signal: AbortSignal): Promise<Engine> {
  const { onProgress, close } = progressTo(cli);
  try {
    const openEngine = await importOpenEngine();
    const { contextLength, maxBatch, maxQueue, baseBits, device, threads, offline } = choice;
    const { templateArgs, templateDate, anyBase } = choice;
    const engine = await openEngine({
      ...{
        model: name,
        maxBatch,
        maxQueue,
        baseBits,
        device,
        threads,
        offline,
        templateArgs,
        templateDate,
        anyBase,
      },
      ...(contextLength === null ? {} : { contextLength }),
      onProgress,
      signal,
    });
    close();
    warn(cli, engine.base.warnings);
    return engine;
  } finally {
    close();
  }
}

async function serve(
  engine: Engine,
  name: string,
  choice: Choice,
  keys: ReturnType<typeof keysOf>,
  cli: Cli,
  signal: AbortSignal,
): Promise<void> {
  const { adapters, host, port, allowOrigin: origins, requestTimeout, stopTimeout } = choice;
  const { allowHubAdapters: hubAdapters } = choice;
  const baseName = baseNameOf(name);
  const log = jsonLog((line) => cli.err.write(line));
  const limits = { requestMs: requestTimeout * 1000 };
  const jobs = jobsOf(name, choice);
  const server = await startServer(engine, {
    ...{ baseName, host, port, adapters, keys, origins, limits, log, hubAdapters },
    ...(jobs === null ? {} : { jobs }),
  });
  const names = [baseName, ...Object.keys(engine.adapters)];
  cli.out.write(`${server.url}/v1 answers as ${names.join(", ")}; Ctrl-C stops\n`);
  await aborted(signal);
  await server.stop(stopTimeout * 1000);
}

/** What jobs train, and with what: the served base, as it is served. */
function jobsOf(model: string, choice: Choice): Omit<JobsOptions, "baseName"> | null {
  const { dataDir, maxJobs, jobThreads, jobMemory, jobStopTimeout } = choice;
  const { baseBits, device, offline, templateArgs, templateDate } = choice;
  if (maxJobs === 0) return null;
  const threads = jobThreads ?? Math.max(1, Math.floor(availableParallelism() / 2));
  return {
    dataDir: dataDir ?? join(dataFolder(), "serve"),
    maxJobs,
    killAfterMs: jobStopTimeout * 1000,
    ...(jobMemory === null ? {} : { jobBytes: Math.round(jobMemory * 2 ** 30) }),
    train: { model, baseBits, device, offline, templateArgs, templateDate, threads },
  };
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

/** The base that the first adapter names which names one. */
async function firstBase(folders: readonly string[]): Promise<string | null> {
  for (const folder of folders)
    for (const { path } of await scanAdapters(folder, () => undefined).catch(() => [])) {
      // Loading an adapter says what is wrong with it.
      const base = await resolveAdapter(path, { offline: true })
        .then(baseModelOfAdapter)
        .catch(() => null);
      if (base !== null) return base;
    }
  return null;
}

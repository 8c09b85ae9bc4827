import { z } from "zod";
import { type SettingsOf, setting } from "../options/setting.ts";
import { count } from "../options/values.ts";
import { isLoopback } from "../server/access/access.ts";
import { type ApiKey, parseKeys } from "../server/access/keys.ts";
import { UsageError } from "./errors.ts";
import { modelSettings } from "./model-settings.ts";

const [ADAPTERS, NETWORK, LIMITS, JOBS] = ["Adapters", "Network", "Limits", "Fine-tuning jobs"];

/** Where a server listens, to whom, and how much it takes on. */
export interface ServeChoice {
  readonly adapters: readonly string[];
  readonly allowHubAdapters: readonly string[];
  readonly anyBase: boolean;
  readonly host: string;
  readonly port: number;
  readonly apiKey: readonly string[];
  readonly allowOrigin: readonly string[];
  readonly maxBatch: number;
  readonly maxQueue: number;
  /** null: the model's positions, at most 2048. */
  readonly contextLength: number | null;
  /** Seconds. */
  readonly requestTimeout: number;
  /** Seconds. */
  readonly stopTimeout: number;
  /** null: serve, below the folder of lowrank's data. */
  readonly dataDir: string | null;
  /** 0: no jobs. */
  readonly maxJobs: number;
  /** null: half of the cores. */
  readonly jobThreads: number | null;
  /** GiB; null: a part of the machine's. */
  readonly jobMemory: number | null;
  /** Seconds. */
  readonly jobStopTimeout: number;
}

export const serveSettings: SettingsOf<ServeChoice> = {
  adapters: setting(z.array(z.string().min(1)), [], {
    group: ADAPTERS,
    value: "folder",
    description:
      "load every adapter in a folder under its name (PEFT and mlx-lm folders, run folders, .gguf files) and follow changes; may " +
      "be repeated. Requests can load adapters from there alone",
    knownAs: ["adapter", "loraModules", "lora"],
  }),
  allowHubAdapters: setting(z.array(z.string().min(1).max(200)), [], {
    group: ADAPTERS,
    value: "owner|owner/name|*",
    description:
      "requests may name adapters of the Hub (model: owner/name) of this owner, or that fit this pattern; they are fetched on first " +
      "use, with the rights of HF_TOKEN; may be repeated",
    knownAs: ["hubAdapters"],
  }),
  anyBase: modelSettings.anyBase,
  host: setting(z.string().min(1), "127.0.0.1", {
    group: NETWORK,
    value: "address",
    description: "address to listen on; one that other machines reach needs an API key",
    knownAs: ["bind", "hostname"],
  }),
  port: setting(z.number().int().min(0).max(65_535), 8080, {
    group: NETWORK,
    value: "n",
    description: "port to listen on; 0: one that is free",
  }),
  apiKey: setting(z.array(z.string().min(1)), [], {
    group: NETWORK,
    value: "key[;rpm=n][;concurrent=n]",
    description:
      "a key that requests must have, with limits of its own; may be repeated. The variable LOWRANK_API_KEYS holds them, with " +
      "commas between, where no other user of the machine sees them. sha256:HEX stands for the key with this hash",
    knownAs: ["apiKeys", "token"],
  }),
  allowOrigin: setting(z.array(z.string().min(1)), [], {
    group: NETWORK,
    value: "origin",
    description: "web pages of this origin (https://app.example) may ask; * for all; may be repeated",
    knownAs: ["cors", "allowedOrigins", "corsOrigin"],
  }),
  maxBatch: setting(count.max(1024), 16, {
    group: LIMITS,
    value: "n",
    description: "answers computed side by side",
    knownAs: ["maxNumSeqs", "parallel"],
  }),
  maxQueue: setting(z.number().int().min(0).max(1e6), 64, {
    group: LIMITS,
    value: "n",
    description: "requests that wait for a place; more are told to try again (429)",
  }),
  contextLength: setting(count.nullable(), null, {
    group: LIMITS,
    value: "tokens",
    description: "longest text, prompt and answer together",
    defaultText: "the model's positions, at most 2048",
    knownAs: ["maxModelLen", "ctxSize"],
  }),
  requestTimeout: setting(count.max(86_400), 600, {
    group: LIMITS,
    value: "seconds",
    description: "most time for one request, the queue included",
    knownAs: ["timeout"],
  }),
  stopTimeout: setting(z.number().int().min(0).max(86_400), 30, {
    group: LIMITS,
    value: "seconds",
    description: "on Ctrl-C or SIGTERM, most time for what is under way",
  }),
  dataDir: setting(z.string().min(1).nullable(), null, {
    group: JOBS,
    value: "folder",
    description: "uploaded files, jobs and what they train; one server at a time",
    defaultText: "serve in LOWRANK_DATA, or in the user's folder for data",
  }),
  maxJobs: setting(z.number().int().min(0).max(64), 1, {
    group: JOBS,
    value: "n",
    description: "jobs that train side by side, others wait; 0: none are taken, and nothing is kept on disk",
  }),
  jobThreads: setting(count.max(1024).nullable(), null, {
    group: JOBS,
    value: "n",
    description: "threads of a job",
    defaultText: "half of the cores",
  }),
  jobMemory: setting(z.number().min(0.1).max(65_536).nullable(), null, {
    group: JOBS,
    value: "GiB",
    description: "memory of a job: one that would take more is refused, one that takes more is ended",
    defaultText: "70% of the machine's, divided by --max-jobs",
    knownAs: ["memory", "memoryLimit"],
  }),
  jobStopTimeout: setting(z.number().int().min(0).max(86_400), 60, {
    group: JOBS,
    value: "seconds",
    description: "most time for a job to write its checkpoint where it is stopped, or the server is",
  }),
};

/** Keys of the command line and of LOWRANK_API_KEYS. @throws UsageError with every problem */
export function keysOf(choice: Pick<ServeChoice, "apiKey">, variable: string | undefined): ApiKey[] {
  const ofVariable = (variable ?? "").split(",").filter((text) => text.trim() !== "");
  return UsageError.from(() => [
    ...parseKeys(choice.apiKey, "--api-key"),
    ...parseKeys(ofVariable, "LOWRANK_API_KEYS"),
  ]);
}

/** @throws UsageError for an address that others reach without a key, and for origins that are none */
export function checkAccess({ host, allowOrigin }: ServeChoice, keys: readonly ApiKey[]): void {
  if (!isLoopback(host) && keys.length === 0)
    throw new UsageError(
      `--host ${host} can be reached from other machines: give --api-key, or LOWRANK_API_KEYS, so that not everybody may ask`,
    );
  const wrong = allowOrigin.filter((text) => text !== "*" && originOf(text) !== text);
  if (wrong.length > 0)
    throw new UsageError(
      `--allow-origin: expected an origin such as https://app.example (no path), or *, got ${wrong.join(", ")}`,
    );
}

function originOf(text: string): string | null {
  try {
    return new URL(text).origin;
  } catch {
    return null;
  }
}

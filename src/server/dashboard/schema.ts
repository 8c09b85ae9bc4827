import { z } from "zod";
import type { FieldsOf } from "../fields.ts";
import { STATUSES } from "../jobs/job-store.ts";
import type {
  AdapterInfo,
  CurvePoint,
  DashboardStatus,
  JobInfo,
  JobOption,
  RunCurve,
  RunInfo,
  ServerLoad,
} from "./shapes.ts";

const text = z.string().nullable();
const int = z.int().nullable();
const number = z.number().nullable();

const load: FieldsOf<ServerLoad> = {
  running: z.int(),
  waiting: z.int(),
  promptTokens: z.int(),
  generatedTokens: z.int(),
  memoryBytes: z.int().describe("of the process"),
  uptimeMs: z.number(),
};

const adapter: FieldsOf<AdapterInfo> = {
  name: z.string(),
  methods: z.array(z.string()),
  rank: int.describe("as its configuration states it; single modules may have another one"),
  parameters: z.int(),
  sizeBytes: int,
  trainedOn: text.describe("the data, as its run or its card names them"),
  examples: int,
  lossBefore: number,
  lossAfter: number,
};

const run: FieldsOf<RunInfo> = {
  id: z.string(),
  name: z.string(),
  state: z.enum(["running", "finished", "stopped"]),
  method: text,
  model: text,
  data: text,
  step: z.int().describe("0: none yet"),
  steps: int,
  trainedTokens: z.int().describe("with a loss on them, in the steps so far"),
  loss: number.describe("of the last step"),
  tokensPerSecond: number,
  etaMs: number,
  version: z.string().describe("changes whenever its log or its state does"),
};

const job: FieldsOf<JobInfo> = {
  id: z.string(),
  name: z.string(),
  status: z.enum(STATUSES),
  base: z.string(),
  file: text,
  createdMs: z.int(),
  model: text.describe("the one that it made"),
  error: text,
  run: z.object(run).nullable().describe("null: it has not begun"),
};

const status: FieldsOf<DashboardStatus> = {
  base: z.string(),
  contextLength: z.int(),
  hasFolders: z.boolean().describe("whether the server was started with --adapters"),
  load: z.object(load),
  adapters: z.array(z.object(adapter)),
  runs: z.array(z.object(run)).describe("those that run first, then by the time of their last change"),
  runsLeftOut: z.int().describe("older ones that are not listed"),
  jobs: z
    .object({ list: z.array(z.object(job)), leftOut: z.int() })
    .nullable()
    .describe("the newest first; null: the server takes none"),
};

const points: z.ZodType<readonly CurvePoint[]> = z.array(z.tuple([z.number(), z.number()]));

const curve: FieldsOf<RunCurve> = {
  id: z.string(),
  lossUnit: z.string(),
  training: points.describe("step, loss"),
  smoothed: points,
  validation: points,
  test: points,
};

/** GET /dashboard/status */
export const dashboardStatus: z.ZodType<DashboardStatus> = z.object(status);

/** GET /dashboard/runs/{id} */
export const runCurve: z.ZodType<RunCurve> = z.object(curve);

const option: FieldsOf<JobOption> = {
  key: z.string(),
  group: z.string().describe("heading in help texts"),
  description: z.string(),
  isNumber: z.boolean(),
  choices: z.array(z.string()).nullable(),
  defaultText: text,
  methods: z.array(z.string()).nullable().describe("those that have it; null: it is no method's"),
};

/** GET /dashboard/job-options */
export const jobOptions: z.ZodType<readonly JobOption[]> = z.array(z.object(option));

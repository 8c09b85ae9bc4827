import { z } from "zod";
import { trainConfigSchema } from "../../train/config/config.ts";
import { type FieldsOf, type Optional, withoutEffect } from "../fields.ts";
import { SUFFIX } from "./model-names.ts";

/** Options that a job has from elsewhere: what it reads and writes, and what belongs to the server. */
export const RESERVED: Readonly<Record<string, string>> = {
  model: "is the field model of the request",
  data: "is the field training_file of the request",
  validationData: "is the field validation_file of the request",
  testData: "is a place on disk: a request names uploaded files alone",
  output: "is a place on disk, which the server chooses",
  resume: "is what POST /v1/fine_tuning/jobs/{id}/resume does",
  name: "is the field suffix of the request",
  seed: "is the field seed of the request",
  offline: "is the server's own (--offline)",
  threads: "is the server's own (--job-threads)",
  dryRun: "makes no job",
};

const free = trainConfigSchema.omit(
  Object.fromEntries(Object.keys(RESERVED).map((key) => [key, true])) as {
    [K in keyof typeof trainConfigSchema.shape]?: true;
  },
);

/** Described as what it is checked against later, with defaults and rules: here any names and values. */
const lowrank = z
  .record(z.string(), z.unknown())
  .nullish()
  .meta({
    ...(z.toJSONSchema(free, { io: "input", unrepresentable: "any" }) as Record<string, unknown>),
    description: "options of `lowrank train`, by their names in config files",
  });

const orAuto = (type: z.ZodNumber): z.ZodType<Optional<number | "auto">> =>
  z.union([z.literal("auto"), type]).nullish();

/** How much is trained, in OpenAI's terms. */
export interface HyperparameterBody {
  readonly batch_size?: Optional<number | "auto">;
  readonly learning_rate_multiplier?: Optional<number | "auto">;
  readonly n_epochs?: Optional<number | "auto">;
}

const hyperparameters: z.ZodType<HyperparameterBody> = z.strictObject({
  batch_size: orAuto(z.int().min(1).max(256)).describe("examples in a step; auto: 8"),
  learning_rate_multiplier: orAuto(z.number().gt(0).max(1000)).describe("of the default rate; auto: 1"),
  n_epochs: orAuto(z.int().min(1).max(50)).describe("passes over the file; auto: 3"),
});

/** What asks for a job. */
export interface JobBody {
  readonly model: string;
  readonly training_file: string;
  readonly validation_file?: Optional<string>;
  readonly suffix?: Optional<string>;
  readonly seed?: Optional<number>;
  readonly metadata?: Optional<Record<string, string>>;
  readonly method?: Optional<{
    readonly type: "supervised" | "dpo" | "reinforcement";
    readonly supervised?: Optional<{ readonly hyperparameters?: Optional<HyperparameterBody> }>;
    readonly dpo?: unknown;
    readonly reinforcement?: unknown;
  }>;
  readonly hyperparameters?: Optional<HyperparameterBody>;
  readonly integrations?: Optional<unknown[]>;
  readonly lowrank?: Optional<Record<string, unknown>>;
}

const MAX_PAIRS = 16;

const fields: FieldsOf<JobBody> = {
  model: z.string().min(1).max(500).describe("the base that is served"),
  training_file: z.string().min(1).max(100).describe("id of an uploaded file"),
  validation_file: z.string().min(1).max(100).nullish().describe("id of an uploaded file"),
  suffix: z.string().regex(SUFFIX, "expected letters, digits and . _ - (64 at most)").nullish(),
  seed: z
    .int()
    .min(0)
    .max(2 ** 31 - 1)
    .nullish()
    .describe("default: a random one"),
  metadata: z
    .record(z.string().max(64), z.string().max(512))
    .refine((pairs) => Object.keys(pairs).length <= MAX_PAIRS, `expected at most ${MAX_PAIRS} pairs`)
    .nullish(),
  method: z
    .strictObject({
      type: z.enum(["supervised", "dpo", "reinforcement"]),
      supervised: z.strictObject({ hyperparameters: hyperparameters.nullish() }).nullish(),
      dpo: z.unknown().optional(),
      reinforcement: z.unknown().optional(),
    })
    .nullish(),
  hyperparameters: hyperparameters.nullish().describe("deprecated: stands in method"),
  integrations: withoutEffect(z.array(z.unknown()), (list) => list.length === 0),
  lowrank,
};

export const jobBody: z.ZodType<JobBody> = z.strictObject(fields);

import { z } from "zod";
import type { CheckpointObject, EventObject, FileObject, JobObject } from "./objects.ts";

const hyperparameters = z.object({
  batch_size: z.number(),
  learning_rate_multiplier: z.number(),
  n_epochs: z.number(),
});

export const jobObject: z.ZodType<JobObject> = z.object({
  id: z.string(),
  object: z.literal("fine_tuning.job"),
  created_at: z.int(),
  finished_at: z.int().nullable(),
  estimated_finish: z.int().nullable(),
  model: z.string(),
  fine_tuned_model: z.string().nullable(),
  organization_id: z.literal("lowrank"),
  status: z.enum(["queued", "running", "paused", "succeeded", "failed", "cancelled"]),
  training_file: z.string(),
  validation_file: z.string().nullable(),
  hyperparameters,
  method: z.object({ type: z.literal("supervised"), supervised: z.object({ hyperparameters }) }),
  seed: z.int(),
  trained_tokens: z.int().nullable(),
  result_files: z.array(z.string()),
  integrations: z.array(z.never()),
  metadata: z.record(z.string(), z.string()).nullable(),
  error: z.object({ code: z.string(), message: z.string(), param: z.string().nullable() }).nullable(),
});

export const eventObject: z.ZodType<EventObject> = z.object({
  id: z.string(),
  object: z.literal("fine_tuning.job.event"),
  created_at: z.int(),
  level: z.enum(["info", "warn", "error"]),
  message: z.string(),
  type: z.enum(["message", "metrics"]),
  data: z.record(z.string(), z.unknown()).nullable(),
});

export const checkpointObject: z.ZodType<CheckpointObject> = z.object({
  id: z.string(),
  object: z.literal("fine_tuning.job.checkpoint"),
  created_at: z.int(),
  fine_tuned_model_checkpoint: z.string(),
  fine_tuning_job_id: z.string(),
  step_number: z.int(),
  metrics: z.record(z.string(), z.number()),
});

export const fileObject: z.ZodType<FileObject> = z.object({
  id: z.string(),
  object: z.literal("file"),
  bytes: z.int(),
  created_at: z.int(),
  expires_at: z.int().optional().describe("seconds since 1970; without one it stays until it is deleted"),
  filename: z.string(),
  purpose: z.enum(["fine-tune", "fine-tune-results"]),
  status: z.literal("processed"),
});

/** A page of a list, as OpenAI's clients read it. */
export function listOf(item: z.ZodType): z.ZodType {
  return z.object({
    object: z.literal("list"),
    data: z.array(item),
    has_more: z.boolean(),
    first_id: z.string().nullable(),
    last_id: z.string().nullable(),
  });
}

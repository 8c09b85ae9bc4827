import { z } from "zod";
import type { FieldsOf } from "../fields.ts";
import type { JobPreview, PreviewPiece, PreviewPlan, PreviewProblem } from "./preview-object.ts";

const problem: FieldsOf<PreviewProblem> = {
  file: z.enum(["training_file", "validation_file"]),
  where: z.string().describe('"line 3", or "file"'),
  code: z.string().nullable().describe("OpenAI's name for it"),
  message: z.string(),
};

const plan: FieldsOf<PreviewPlan> = {
  method: z.string(),
  trained: z
    .array(z.object({ name: z.string(), count: z.int() }))
    .describe("modules that are adapted, * for the layer, and how many there are"),
  trainable_parameters: z.int(),
  total_parameters: z.int().describe("of the base and its adapter"),
  examples: z.int(),
  validation_examples: z.int(),
  truncated: z.int().describe("examples cut to the longest length"),
  dropped: z.int().describe("examples left out because they do not fit it"),
  padded_tokens_per_epoch: z.int(),
  packed_tokens_per_epoch: z.int().describe("those that are computed: what examples share is computed once"),
  trained_tokens: z.int().describe("with a loss on them, over all passes"),
  steps: z.int(),
  steps_per_epoch: z.int(),
  estimated_seconds: z
    .number()
    .nullable()
    .describe("of the steps, by the machine's speed as just measured; null: not known"),
  memory_bytes: z.int().describe("estimated, at its peak"),
  adapter_bytes: z.int(),
};

const piece: FieldsOf<PreviewPiece> = {
  text: z.string(),
  is_label: z.boolean().describe("whether it is learned; what is not is read only"),
  cuts: z
    .array(z.int())
    .describe("offsets between tokens of text that looks like a special token and is none"),
};

const preview: FieldsOf<JobPreview> = {
  object: z.literal("fine_tuning.job.preview"),
  model: z.string(),
  training_file: z.string(),
  validation_file: z.string().nullable(),
  lowrank: z.record(z.string(), z.unknown()).describe("options as the job would have them"),
  problems: z.array(z.object(problem)).describe("what is wrong with the files, the first few"),
  problems_left_out: z.int().describe("further ones"),
  plan: z.object(plan).nullable().describe("null: the files cannot be trained on"),
  examples: z.array(z.array(z.object(piece))).describe("the first ones, as the model reads them"),
  warnings: z.array(z.string()),
};

/** POST /v1/fine_tuning/jobs/preview */
export const previewObject: z.ZodType<JobPreview> = z.object(preview);

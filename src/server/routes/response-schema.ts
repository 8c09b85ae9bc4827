import { z } from "zod";
import type { ChoiceLogprobs } from "./chat-schema.ts";
import { choiceLogprob } from "./chat-schema.ts";
import { type TextFormat, textFormat } from "./responses-schema.ts";

type Status = "in_progress" | "completed" | "incomplete";

/** What a model said. */
export interface OutputMessage {
  readonly type: "message";
  readonly id: string;
  readonly role: "assistant";
  readonly status: Status;
  readonly content: readonly {
    readonly type: "output_text";
    readonly text: string;
    readonly annotations: readonly never[];
    readonly logprobs: ChoiceLogprobs["content"];
  }[];
}

/** A tool that a model calls. */
export interface FunctionCall {
  readonly type: "function_call";
  readonly id: string;
  readonly call_id: string;
  readonly name: string;
  readonly arguments: string;
  readonly status: Status;
}

export type OutputItem = OutputMessage | FunctionCall;

const outputItem: z.ZodType<OutputItem> = z.discriminatedUnion("type", [
  z.strictObject({
    type: z.literal("message"),
    id: z.string(),
    role: z.literal("assistant"),
    status: z.enum(["in_progress", "completed", "incomplete"]),
    content: z.array(
      z.strictObject({
        type: z.literal("output_text"),
        text: z.string(),
        annotations: z.array(z.never()),
        logprobs: z.array(choiceLogprob),
      }),
    ),
  }),
  z.strictObject({
    type: z.literal("function_call"),
    ...{ id: z.string(), call_id: z.string(), name: z.string(), arguments: z.string() },
    status: z.enum(["in_progress", "completed", "incomplete"]),
  }),
]);

/** The answer, with what was asked. */
export interface ResponseObject {
  readonly id: string;
  readonly object: "response";
  /** Unix time in seconds. */
  readonly created_at: number;
  readonly status: Status | "failed";
  readonly error: { readonly code: string; readonly message: string } | null;
  readonly incomplete_details: { readonly reason: "max_output_tokens" } | null;
  readonly instructions: string | null;
  readonly max_output_tokens: number | null;
  readonly metadata: Readonly<Record<string, string>>;
  readonly model: string;
  readonly output: readonly OutputItem[];
  readonly parallel_tool_calls: boolean;
  readonly previous_response_id: string | null;
  readonly store: boolean;
  readonly temperature: number;
  readonly text: { readonly format: TextFormat };
  readonly tool_choice: "auto" | "none" | "required" | { readonly type: "function"; readonly name: string };
  readonly tools: readonly { readonly type: "function"; readonly name: string }[];
  readonly top_logprobs: number;
  readonly top_p: number;
  readonly truncation: "disabled";
  readonly usage: ResponseUsage | null;
}

interface ResponseUsage {
  readonly input_tokens: number;
  readonly input_tokens_details: { readonly cached_tokens: number };
  readonly output_tokens: number;
  readonly output_tokens_details: { readonly reasoning_tokens: number };
  readonly total_tokens: number;
}

export const responseObject: z.ZodType<ResponseObject> = z.strictObject({
  id: z.string(),
  object: z.literal("response"),
  created_at: z.int(),
  status: z.enum(["in_progress", "completed", "incomplete", "failed"]),
  error: z.strictObject({ code: z.string(), message: z.string() }).nullable(),
  incomplete_details: z.strictObject({ reason: z.literal("max_output_tokens") }).nullable(),
  instructions: z.string().nullable(),
  max_output_tokens: z.int().nullable(),
  metadata: z.record(z.string(), z.string()),
  model: z.string(),
  output: z.array(outputItem),
  parallel_tool_calls: z.boolean(),
  previous_response_id: z.string().nullable(),
  store: z.boolean(),
  temperature: z.number(),
  text: z.strictObject({ format: textFormat }),
  tool_choice: z.union([
    z.enum(["auto", "none", "required"]),
    z.strictObject({ type: z.literal("function"), name: z.string() }),
  ]),
  tools: z.array(z.looseObject({ type: z.literal("function"), name: z.string() })),
  top_logprobs: z.int(),
  top_p: z.number(),
  truncation: z.literal("disabled"),
  usage: z
    .strictObject({
      input_tokens: z.int(),
      input_tokens_details: z.strictObject({ cached_tokens: z.int() }),
      output_tokens: z.int(),
      output_tokens_details: z.strictObject({ reasoning_tokens: z.int() }),
      total_tokens: z.int(),
    })
    .nullable(),
});

/** An event of a streamed answer; its other fields depend on its type. */
export interface ResponseEvent {
  readonly type: string;
  readonly sequence_number: number;
  readonly [field: string]: unknown;
}

export const responseEvent: z.ZodType<ResponseEvent> = z.looseObject({
  type: z.string(),
  sequence_number: z.int(),
});

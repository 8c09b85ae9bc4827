import { z } from "zod";
import {
  type Optional,
  type SamplingBody,
  type SideBody,
  samplingFields,
  sideFields,
  withoutEffect,
} from "../fields.ts";
import { type ModelChoice, modelFields } from "../model-names.ts";
import { checkTools, type FunctionTool, functionFields, toolChoice } from "./chat-schema.ts";

type InputText = string | readonly { readonly text: string }[];

const inputPart = z.strictObject({
  type: z.enum(["input_text", "output_text"]),
  text: z.string(),
  annotations: z.array(z.unknown()).nullish(),
  logprobs: z.array(z.unknown()).nullish(),
});

const inputText = z.union([z.string(), z.array(inputPart).min(1)]);
const itemStatus = z.enum(["in_progress", "completed", "incomplete"]).nullish();

/** A message, a call of a tool, what the tool answered, or the id of an item that this server gave. */
export type InputItem =
  | {
      readonly type: "function_call";
      readonly call_id: string;
      readonly name: string;
      readonly arguments: string;
    }
  | { readonly type: "function_call_output"; readonly call_id: string; readonly output: InputText }
  | { readonly type: "item_reference"; readonly id: string }
  | {
      readonly type?: "message" | undefined;
      readonly role: "system" | "developer" | "user" | "assistant";
      readonly content: InputText;
    };

const inputItem: z.ZodType<InputItem> = z.union([
  z.strictObject({
    type: z.literal("message").optional(),
    role: z.enum(["system", "developer", "user", "assistant"]),
    content: inputText,
    id: z.string().max(200).nullish(),
    status: itemStatus,
    phase: z.string().nullish(),
  }),
  z.strictObject({
    type: z.literal("function_call"),
    call_id: z.string().max(200),
    ...{ id: z.string().max(200).nullish(), status: itemStatus },
    ...{ name: z.string().min(1).max(64), arguments: z.string() },
  }),
  z.strictObject({
    type: z.literal("function_call_output"),
    call_id: z.string().max(200),
    ...{ id: z.string().max(200).nullish(), status: itemStatus },
    output: inputText,
  }),
  z.strictObject({ type: z.literal("item_reference"), id: z.string().max(200) }),
]);

const isEmpty = (list: readonly unknown[]): boolean => list.length === 0;

/** What an answer must be. */
export type TextFormat =
  | { readonly type: "text" | "json_object" }
  | { readonly type: "json_schema"; readonly schema: Record<string, unknown> };

const textFormat: z.ZodType<TextFormat> = z.discriminatedUnion("type", [
  z.strictObject({ type: z.enum(["text", "json_object"]) }),
  z.strictObject({
    type: z.literal("json_schema"),
    name: z.string().max(64),
    description: z.string().nullish(),
    strict: z.boolean().nullish().describe("without effect: answers always fit"),
    schema: z.record(z.string(), z.unknown()),
  }),
]);

const functionTool = z.strictObject({ type: z.literal("function"), ...functionFields });

/** The body of POST /v1/responses, as far as it has an effect. */
export interface ResponsesBody extends ModelChoice, SamplingBody, SideBody {
  readonly input: string | readonly InputItem[];
  readonly instructions?: Optional<string>;
  readonly max_output_tokens?: Optional<number>;
  readonly stream?: Optional<boolean>;
  readonly text?: Optional<{ readonly format?: Optional<TextFormat> }>;
  readonly tools?: Optional<readonly ({ readonly type: "function" } & FunctionTool)[]>;
  readonly tool_choice?: Optional<unknown>;
  readonly parallel_tool_calls?: Optional<boolean>;
  readonly store?: Optional<boolean>;
}

export const responsesBody: z.ZodType<ResponsesBody> = z
  .strictObject({
    ...modelFields,
    input: z.union([z.string().min(1), z.array(inputItem).min(1).max(2048)]),
    instructions: z.string().nullish().describe("a system message in front of the input"),
    ...samplingFields,
    max_output_tokens: z.int().min(1).max(1e9).nullish().describe("default: what the context holds"),
    stream: z.boolean().nullish(),
    stream_options: withoutEffect(z.record(z.string(), z.unknown()), (o) =>
      Object.values(o).every((x) => !x),
    ),
    text: z
      .strictObject({
        format: textFormat.nullish(),
        verbosity: withoutEffect(z.string(), (text) => text === "medium"),
      })
      .nullish(),
    tools: z.array(functionTool).max(128).nullish(),
    tool_choice: toolChoice,
    parallel_tool_calls: z.boolean().nullish(),
    include: withoutEffect(z.array(z.string()), isEmpty),
    truncation: withoutEffect(z.string(), (text) => text === "disabled"),
    top_logprobs: withoutEffect(z.int(), (x) => x === 0),
    reasoning: withoutEffect(z.record(z.string(), z.unknown()), (o) =>
      Object.values(o).every((x) => x === null),
    ),
    previous_response_id: withoutEffect(z.string(), () => false),
    conversation: withoutEffect(z.unknown(), () => false),
    prompt: withoutEffect(z.unknown(), () => false),
    background: withoutEffect(z.boolean(), (x) => !x),
    store: z
      .boolean()
      .nullish()
      .describe("default true: the answer can be referred to by its id, while memory lasts"),
    ...sideFields,
  })
  .superRefine((body, context) => checkTools(body, body.text?.format, ["text", "format"], context));

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
    readonly logprobs: readonly never[];
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
        logprobs: z.array(z.never()),
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
  readonly previous_response_id: null;
  readonly store: boolean;
  readonly temperature: number;
  readonly text: { readonly format: TextFormat };
  readonly tool_choice: "auto" | "none";
  readonly tools: readonly unknown[];
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
  previous_response_id: z.null(),
  store: z.boolean(),
  temperature: z.number(),
  text: z.strictObject({ format: textFormat }),
  tool_choice: z.enum(["auto", "none"]),
  tools: z.array(functionTool),
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
export const responseEvent: z.ZodType<{ readonly type: string; readonly sequence_number: number }> =
  z.looseObject({ type: z.string(), sequence_number: z.int() });

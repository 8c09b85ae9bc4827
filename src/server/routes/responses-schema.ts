import { z } from "zod";
import { MAX_LOGPROBS } from "../../generate/logprobs.ts";
import {
  type Optional,
  type SamplingBody,
  type SideBody,
  samplingFields,
  sideFields,
  withoutEffect,
} from "../fields.ts";
import { type ModelChoice, modelFields } from "../model-names.ts";
import {
  checkToolChoice,
  type FunctionTool,
  functionFields,
  parallelToolCalls,
  responsesToolChoice,
  type ToolBody,
} from "./tool-schema.ts";

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

/** What may be asked for beside the answer. */
const LOGPROBS = "message.output_text.logprobs";

/** What an answer must be. */
export type TextFormat =
  | { readonly type: "text" | "json_object" }
  | { readonly type: "json_schema"; readonly schema: Record<string, unknown> };

export const textFormat: z.ZodType<TextFormat> = z.discriminatedUnion("type", [
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
export interface ResponsesBody extends ModelChoice, SamplingBody, SideBody, ToolBody {
  readonly input: string | readonly InputItem[];
  readonly instructions?: Optional<string>;
  readonly max_output_tokens?: Optional<number>;
  readonly stream?: Optional<boolean>;
  readonly text?: Optional<{ readonly format?: Optional<TextFormat> }>;
  readonly tools?: Optional<readonly ({ readonly type: "function" } & FunctionTool)[]>;
  readonly include?: Optional<readonly string[]>;
  readonly top_logprobs?: Optional<number>;
  readonly previous_response_id?: Optional<string>;
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
    tool_choice: responsesToolChoice,
    parallel_tool_calls: parallelToolCalls,
    include: withoutEffect(
      z.array(z.string()),
      (all) => all.every((one) => one === LOGPROBS),
      `takes ${LOGPROBS} only`,
    ),
    truncation: withoutEffect(z.string(), (text) => text === "disabled"),
    top_logprobs: z
      .int()
      .min(0)
      .max(MAX_LOGPROBS)
      .nullish()
      .describe("log-probabilities of so many likely tokens in the place of each one"),
    reasoning: withoutEffect(z.record(z.string(), z.unknown()), (o) =>
      Object.values(o).every((x) => x === null),
    ),
    previous_response_id: z
      .string()
      .max(200)
      .nullish()
      .describe("goes on from a response that is kept; its instructions are not taken over"),
    conversation: withoutEffect(z.unknown(), () => false),
    prompt: withoutEffect(z.unknown(), () => false),
    background: withoutEffect(z.boolean(), (x) => !x),
    store: z
      .boolean()
      .nullish()
      .describe("default true: the response can be referred to by its id, while memory lasts"),
    ...sideFields,
  })
  .superRefine((body, context) => {
    checkToolChoice(body, body.tools?.map(({ name }) => name) ?? [], context);
    if (body.top_logprobs && !hasLogprobs(body))
      context.addIssue({
        code: "custom",
        path: ["top_logprobs"],
        message: `needs include: ["${LOGPROBS}"]`,
      });
  });

/** Log-probabilities are asked for. */
export function hasLogprobs({ include }: Pick<ResponsesBody, "include">): boolean {
  return include?.includes(LOGPROBS) === true;
}

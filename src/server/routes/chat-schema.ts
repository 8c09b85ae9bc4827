import { z } from "zod";
import { MAX_LOGPROBS } from "../../generate/logprobs.ts";
import {
  checkStream,
  choiceCount,
  type Optional,
  type SamplingBody,
  type StreamBody,
  samplingFields,
  sideFields,
  streamFields,
  withoutEffect,
} from "../fields.ts";
import { type ChatMessage, callFields, chatMessages, type ToolCall, toolCall } from "../messages.ts";
import { type ModelChoice, modelFields } from "../model-names.ts";
import {
  chatToolChoice,
  checkToolChoice,
  parallelToolCalls,
  type Tool,
  type ToolBody,
  tool,
} from "./tool-schema.ts";

const maxTokens = z.int().min(1).max(1e9).nullish().describe("default: what the context holds");

/** What an answer must be. */
export type Format =
  | { readonly type: "text" | "json_object" }
  | { readonly type: "json_schema"; readonly json_schema: { readonly schema: Record<string, unknown> } };

const format: z.ZodType<Format> = z.discriminatedUnion("type", [
  z.strictObject({ type: z.enum(["text", "json_object"]) }),
  z.strictObject({
    type: z.literal("json_schema"),
    json_schema: z.strictObject({
      name: z.string().max(64),
      description: z.string().nullish(),
      strict: z.boolean().nullish().describe("without effect: answers always fit"),
      schema: z.record(z.string(), z.unknown()),
    }),
  }),
]);

/** The body of POST /v1/chat/completions, as far as it has an effect. */
export interface ChatBody extends ModelChoice, SamplingBody, StreamBody, ToolBody {
  readonly messages: readonly ChatMessage[];
  readonly n?: Optional<number>;
  readonly max_tokens?: Optional<number>;
  readonly max_completion_tokens?: Optional<number>;
  readonly logprobs?: Optional<boolean>;
  readonly top_logprobs?: Optional<number>;
  readonly tools?: Optional<readonly Tool[]>;
  readonly response_format?: Optional<Format>;
  readonly chat_template_kwargs?: Optional<Record<string, unknown>>;
}

export const chatBody: z.ZodType<ChatBody> = z
  .strictObject({
    ...modelFields,
    messages: chatMessages,
    ...samplingFields,
    n: choiceCount,
    max_tokens: maxTokens,
    max_completion_tokens: maxTokens,
    ...streamFields,
    logprobs: z.boolean().nullish().describe("with the log-probability of each token"),
    top_logprobs: z
      .int()
      .min(0)
      .max(MAX_LOGPROBS)
      .nullish()
      .describe("and of so many likely ones in its place"),
    tools: z.array(tool).max(128).nullish(),
    tool_choice: chatToolChoice,
    parallel_tool_calls: parallelToolCalls,
    chat_template_kwargs: z
      .record(z.string(), z.unknown())
      .nullish()
      .describe("variables of the chat template, such as enable_thinking"),
    response_format: format
      .nullish()
      .describe("holds the answer to JSON, or to a schema, on one line; beside tools, to that or to calls"),
    modalities: withoutEffect(z.array(z.string()), (all) => all.every((one) => one === "text")),
    store: withoutEffect(z.boolean(), (x) => !x, "is not supported: answers are not kept"),
    ...sideFields,
  })
  .superRefine((body, context) => {
    const { max_tokens: one, max_completion_tokens: other } = body;
    if (typeof one === "number" && typeof other === "number" && one !== other)
      context.addIssue({
        code: "custom",
        path: ["max_tokens"],
        message: "differs from max_completion_tokens",
      });
    checkStream(body, context);
    checkToolChoice(body, body.tools?.map((one) => one.function.name) ?? [], context);
    if (typeof body.top_logprobs === "number" && body.logprobs !== true)
      context.addIssue({ code: "custom", path: ["top_logprobs"], message: "needs logprobs: true" });
  });

/** Tokens of a request and its answers. */
export interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
}

export const usage: z.ZodType<Usage> = z.object({
  prompt_tokens: z.int(),
  completion_tokens: z.int(),
  total_tokens: z.int(),
});

type Finish = "stop" | "length" | "tool_calls";
const finish = z.enum(["stop", "length", "tool_calls"]);

/** How likely a token was. */
export interface TokenProbability {
  readonly token: string;
  readonly logprob: number;
  readonly bytes: readonly number[];
}

/** How likely the tokens of an answer were, and others in their places. */
export interface ChoiceLogprobs {
  readonly content: readonly (TokenProbability & { readonly top_logprobs: readonly TokenProbability[] })[];
  readonly refusal: null;
}

const probability = { token: z.string(), logprob: z.number(), bytes: z.array(z.int()) };
export const choiceLogprob: z.ZodType<ChoiceLogprobs["content"][number]> = z.strictObject({
  ...probability,
  top_logprobs: z.array(z.strictObject(probability)),
});

const logprobs: z.ZodType<ChoiceLogprobs | null> = z
  .strictObject({ content: z.array(choiceLogprob), refusal: z.null() })
  .nullable();

/** What the whole answer and the events of a streamed one have in common. */
export interface ChatHead {
  readonly id: string;
  /** Unix time in seconds. */
  readonly created: number;
  readonly model: string;
}

const head = { id: z.string(), created: z.int(), model: z.string() };

/** The whole answer. */
export interface ChatCompletion extends ChatHead {
  readonly object: "chat.completion";
  readonly choices: readonly {
    readonly index: number;
    readonly message: {
      readonly role: "assistant";
      readonly content: string | null;
      readonly refusal: null;
      readonly tool_calls?: readonly ToolCall[] | undefined;
    };
    readonly logprobs: ChoiceLogprobs | null;
    readonly finish_reason: Finish;
  }[];
  readonly usage: Usage;
}

export const chatCompletion: z.ZodType<ChatCompletion> = z.strictObject({
  ...head,
  object: z.literal("chat.completion"),
  choices: z.array(
    z.strictObject({
      index: z.int(),
      message: z.strictObject({
        role: z.literal("assistant"),
        content: z.string().nullable(),
        refusal: z.null(),
        tool_calls: z.array(toolCall).optional(),
      }),
      logprobs,
      finish_reason: finish,
    }),
  ),
  usage,
});

/** An event of a streamed answer. */
export interface ChatChunk extends ChatHead {
  readonly object: "chat.completion.chunk";
  readonly choices: readonly {
    readonly index: number;
    readonly delta: {
      readonly role?: "assistant" | undefined;
      readonly content?: string | undefined;
      readonly tool_calls?: readonly (ToolCall & { readonly index: number })[] | undefined;
    };
    readonly logprobs: ChoiceLogprobs | null;
    readonly finish_reason: Finish | null;
  }[];
  readonly usage?: Optional<Usage>;
}

export const chatChunk: z.ZodType<ChatChunk> = z.strictObject({
  ...head,
  object: z.literal("chat.completion.chunk"),
  choices: z.array(
    z.strictObject({
      index: z.int(),
      delta: z.strictObject({
        role: z.literal("assistant").optional(),
        content: z.string().optional(),
        tool_calls: z.array(z.strictObject({ index: z.int(), ...callFields })).optional(),
      }),
      logprobs,
      finish_reason: finish.nullable(),
    }),
  ),
  usage: usage.nullish(),
});

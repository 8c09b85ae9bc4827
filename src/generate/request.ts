import type { Message } from "../text/messages.ts";
import type { ResponseFormat, ToolChoice } from "./held-answer.ts";
import type { ChosenLogprob } from "./logprobs.ts";
import type { SamplingOptions } from "./sampling.ts";

/** What to continue, and how. `messages` go through the chat template; `prompt` is one user message, or plain text if `raw`.
 *  Greedy unless a temperature is given. */
export interface GenerateRequest extends SamplingOptions {
  readonly messages?: readonly Message[];
  readonly prompt?: string;
  readonly raw?: boolean;
  /** In the place of messages or a prompt: token ids, continued as they are. */
  readonly promptIds?: readonly number[];
  /** Descriptions of tools that the model may call, for templates that list them. What marks a call stays in the text then, even
   *  where it is a special token. */
  readonly tools?: readonly unknown[];
  /** Whether tools are called: "auto" (the model decides), "required" (nothing but calls is said), or the tool that is called. What must be
   *  called is held to the form in which the model writes calls, with arguments that fit the tool's `parameters`; so are, with "auto", calls
   *  of tools that say `strict: true`, where calls have a beginning that no text has (not in Llama's form). Default "auto". */
  readonly toolChoice?: ToolChoice;
  /** false: the answer ends with its first call. Default true. */
  readonly parallelToolCalls?: boolean;
  /** More variables of the chat template, e.g. `enable_thinking`, over those of the model. */
  readonly templateArgs?: Readonly<Record<string, unknown>>;
  /** Default 256. What the template writes in front of an answer, if the model writes it, does not count. */
  readonly maxTokens?: number;
  /** Texts that end the continuation; they are not part of it. */
  readonly stop?: readonly string[];
  /** Log-probabilities of the answer's tokens, each with the n most likely ones in its place; 0 to 20. Default: none. */
  readonly logprobs?: number;
  /** Holds the answer to a form, token by token: "json" (an object), or a JSON schema that it fits, on one line. An answer that ends by `maxTokens` or a
   *  stop text is the beginning of one. Beside tools, an answer is either calls or what this says. Default: none. */
  readonly responseFormat?: ResponseFormat;
  readonly signal?: AbortSignal;
}

/** A piece of the continuation, whole characters only. */
export interface GeneratedPiece {
  readonly text: string;
  readonly id: number;
  /** Of every token since the last piece, where they are asked for: a piece holds several tokens where a character is spread over
   *  them, or a text was held back. All pieces together hold those of every id of the result, once and in order. */
  readonly logprobs?: readonly ChosenLogprob[];
}

/** A finished continuation. */
export interface GenerateResult {
  readonly text: string;
  /** Ids of the continuation, end token left out. */
  readonly ids: readonly number[];
  /** Of each of the ids, where they are asked for. */
  readonly logprobs?: readonly ChosenLogprob[];
  readonly finishReason: "end" | "stop" | "length" | "aborted";
  readonly promptTokens: number;
  readonly elapsedMs: number;
}

/** A continuation under way: the prompt, and then a token for each row of logits. It knows nothing of what computes them. */
export interface Continuation {
  /** Ids that the model reads first, virtual tokens among them. */
  readonly prompt: readonly number[];
  /** Why it is over; null while it goes on. */
  readonly finishReason: GenerateResult["finishReason"] | null;
  /** What has to settle before logits can be taken; null: nothing. */
  readonly waits: Promise<void> | null;
  /** Takes logits [V] for the next token, which it chooses. Returns it with the text that it completes (""); null where it ends the
   *  text. @throws RuntimeError for logits that are none */
  push(logits: Float32Array): GeneratedPiece | null;
  /** Ends it before its time. */
  abort(): void;
  /** Text that was held back in case it belonged to a stop text, and log-probabilities of tokens without text; once, when it is
   *  over. */
  flush(): GeneratedPiece | null;
  /** All of it. */
  result(): GenerateResult;
}

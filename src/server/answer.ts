import { randomUUID } from "node:crypto";
import type { EngineRequest } from "../generate/engine/engine.ts";
import type { ChosenLogprob, TokenLogprob } from "../generate/logprobs.ts";
import type { BaseModel } from "../models/base.ts";
import type { ToolCall as ModelCall, ToolCallForm } from "../text/tool-call-forms.ts";
import { parseToolCalls, readToolCalls } from "../text/tool-calls.ts";
import { refusal } from "./body.ts";
import type { ToolCall } from "./messages.ts";
import type { ChoiceLogprobs, TokenProbability } from "./routes/chat-schema.ts";

/** What an answer says: its text, and the tools that it calls. */
export interface Said {
  readonly text: string;
  readonly calls: readonly ToolCall[];
}

/** Tells calls from text, in a whole answer or piece by piece. */
export interface AnswerReader {
  whole(text: string): Said;
  /** Takes a piece, null at the end; gives what is certain by then. */
  push(text: string | null): Said;
}

/** Reader of answers without tools: all is text. */
const plain: AnswerReader = {
  whole: (text) => ({ text, calls: [] }),
  push: (text) => ({ text: text ?? "", calls: [] }),
};

/** Makes readers of answers to a request with tools. @throws HttpError 400 where the model writes calls in no form that is known */
export function answerReaders(
  base: BaseModel,
  { tools, parallelToolCalls = true }: Pick<EngineRequest, "tools" | "parallelToolCalls">,
): () => AnswerReader {
  if (tools === undefined) return () => plain;
  const form = base.template?.toolCalls ?? null;
  if (form !== null) return () => callReader(form, parallelToolCalls ? Number.POSITIVE_INFINITY : 1);
  const message = "the model's chat template writes calls in no form that is known here";
  throw refusal([{ where: "tools", message }]);
}

/** Of more calls than `most` (Mistral's come as a list) the rest is left out. */
function callReader(form: ToolCallForm, most: number): AnswerReader {
  const reader = readToolCalls(form);
  let left = most;
  return {
    whole: (text) => {
      const { text: rest, calls } = parseToolCalls(form, text);
      return { text: rest, calls: calls.slice(0, most).map(named) };
    },
    push: (text) => {
      const parts = text === null ? reader.flush() : reader.push(text);
      const calls = parts.flatMap((part) => ("call" in part ? [named(part.call)] : [])).slice(0, left);
      left -= calls.length;
      return { text: parts.map((part) => ("text" in part ? part.text : "")).join(""), calls };
    },
  };
}

function named(call: ModelCall): ToolCall {
  const { name, arguments: values } = call;
  return { id: `call_${randomUUID()}`, type: "function", function: { name, arguments: values } };
}

/** Log-probabilities in OpenAI's form; null where none were asked for. */
export function choiceLogprobs(chosen: readonly ChosenLogprob[] | undefined): ChoiceLogprobs | null {
  return chosen === undefined ? null : { content: chosen.map(tokenLogprob), refusal: null };
}

/** The log-probability of one token, and of those in its place, in OpenAI's form. */
export function tokenLogprob(one: ChosenLogprob): ChoiceLogprobs["content"][number] {
  return { ...probability(one), top_logprobs: one.top.map(probability) };
}

function probability({ text, logprob, bytes }: TokenLogprob): TokenProbability {
  return { token: text, logprob, bytes: [...bytes] };
}

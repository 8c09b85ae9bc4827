import { ApiError, ask } from "./api.ts";

/** What is asked of every model. */
export interface Question {
  readonly prompt: string;
  readonly system: string;
  readonly temperature: number;
  readonly maxTokens: number;
}

/** An answer as it grows. */
export interface Answer {
  readonly state: "waiting" | "streaming" | "done" | "stopped" | "failed";
  readonly text: string;
  /** null: no token came yet. */
  readonly firstTokenMs: number | null;
  /** Counted by the server at the end; until then, pieces of text. */
  readonly tokens: number;
  readonly tokensPerSecond: number | null;
  readonly finishReason: string | null;
  readonly error: string | null;
}

export const WAITING: Answer = {
  state: "waiting",
  text: "",
  firstTokenMs: null,
  tokens: 0,
  tokensPerSecond: null,
  finishReason: null,
  error: null,
};

interface Chunk {
  readonly choices?: readonly {
    readonly delta: { readonly content?: string };
    readonly finish_reason: string | null;
  }[];
  readonly usage?: { readonly completion_tokens: number } | null;
  readonly error?: { readonly message: string };
}

/** Streams a model's answer, each time with all that is known of it. @throws ApiError, or what `fetch` throws */
export async function* streamAnswer(
  model: string,
  question: Question,
  signal: AbortSignal,
): AsyncGenerator<Answer> {
  const startMs = performance.now();
  const response = await ask("v1/chat/completions", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(bodyOf(model, question)),
    signal,
  });
  let answer = WAITING;
  for await (const data of eventData(response.body as ReadableStream<Uint8Array>)) {
    if (data === "[DONE]") break;
    answer = grown(answer, JSON.parse(data) as Chunk, performance.now() - startMs);
    yield answer;
  }
  yield { ...answer, state: "done" };
}

function bodyOf(model: string, { prompt, system, temperature, maxTokens }: Question): unknown {
  const messages = [{ role: "user", content: prompt }];
  return {
    model,
    messages: system === "" ? messages : [{ role: "system", content: system }, ...messages],
    temperature,
    max_tokens: maxTokens,
    stream: true,
    stream_options: { include_usage: true },
  };
}

function grown(answer: Answer, { choices, usage, error }: Chunk, elapsedMs: number): Answer {
  if (error) throw new ApiError(500, error.message);
  const choice = choices?.[0];
  const content = choice?.delta.content ?? "";
  const firstTokenMs = answer.firstTokenMs ?? (content === "" ? null : elapsedMs);
  const tokens = usage?.completion_tokens ?? answer.tokens + (content === "" ? 0 : 1);
  const seconds = (elapsedMs - (firstTokenMs ?? elapsedMs)) / 1000;
  return {
    ...answer,
    state: "streaming",
    text: answer.text + content,
    firstTokenMs,
    tokens,
    // The first token ends the wait for it: the rate is that of those behind it.
    tokensPerSecond: tokens > 1 && seconds > 0 ? (tokens - 1) / seconds : null,
    finishReason: choice?.finish_reason ?? answer.finishReason,
  };
}

/** The data of server-sent events. */
export async function* eventData(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const reader = body.pipeThrough(new TextDecoderStream() as TransformStream<Uint8Array, string>).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    const events = `${rest}${value ?? ""}`.split("\n\n");
    rest = done ? "" : (events.pop() ?? "");
    for (const event of events)
      for (const line of event.split("\n")) if (line.startsWith("data: ")) yield line.slice("data: ".length);
    if (done) return;
  }
}

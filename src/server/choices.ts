import { BusyError } from "../errors.ts";
import type { EngineRequest } from "../generate/engine/engine.ts";
import type { GeneratedPiece, GenerateResult } from "../generate/stream.ts";
import { refusal } from "./body.ts";
import { requestEnd } from "./lifecycle.ts";
import type { ServerParts } from "./parts.ts";
import type { RequestContext } from "./route.ts";
import type { Usage } from "./routes/chat-schema.ts";

/** A piece of a choice, or its end. */
export type ChoiceEvent =
  | { readonly index: number; readonly piece: GeneratedPiece }
  | { readonly index: number; readonly result: GenerateResult };

type Pieces = AsyncGenerator<GeneratedPiece, GenerateResult>;

/** Begins all continuations of one HTTP request, none where there is no room for all, and gives their pieces as they come. It waits for the first piece: what is wrong with the
 *  request shows before it, while the status of the answer is still open. The continuations end with the request, whoever ends it.
 *  @throws as `Engine.generate`: of several, the first; then none goes on */
export async function startChoices(
  c: RequestContext,
  parts: ServerParts,
  requests: readonly EngineRequest[],
): Promise<AsyncGenerator<ChoiceEvent, void>> {
  checkRoom(requests.length, parts.engine);
  const startedMs = performance.now();
  const { signal, end } = requestEnd(c, parts);
  const all = requests.map((request) => parts.engine.generate({ ...request, signal }));
  const events = interleave(all, signal, end, c);
  c.get("atEnd").push(() => void events.return()); // also where nobody began to read the answer
  const first = await events.next();
  parts.metrics.firstToken((performance.now() - startedMs) / 1000);
  return resumed(first, events);
}

/** Several choices begin together or not at all: those of a request that is refused in the end would take places from others.
 *  @throws HttpError 400 for more than there can ever be room for; BusyError */
function checkRoom(count: number, { capacity, status }: ServerParts["engine"]): void {
  if (count > capacity) {
    const message = `asks for ${count} answers in all; this server computes and queues ${capacity} at most`;
    throw refusal([{ where: "n", message }]);
  }
  const free = capacity - status.running - status.waiting;
  if (count > 1 && count > free)
    throw new BusyError(`${count} answers are asked for, and there is room for ${free}: try again later`);
}

async function* resumed(
  first: IteratorResult<ChoiceEvent, void>,
  rest: AsyncGenerator<ChoiceEvent, void>,
): AsyncGenerator<ChoiceEvent, void> {
  try {
    if (!first.done) yield first.value;
    yield* rest;
  } finally {
    await rest.return();
  }
}

async function* interleave(
  all: readonly Pieces[],
  signal: AbortSignal,
  end: () => void,
  c: RequestContext,
): AsyncGenerator<ChoiceEvent, void> {
  const turn = (index: number) => (all[index] as Pieces).next().then((next) => ({ index, next }));
  const waiting = new Map(all.map((_, index) => [index, turn(index)]));
  try {
    while (waiting.size > 0) {
      const { index, next } = await Promise.race(waiting.values());
      if (next.done) {
        if (next.value.finishReason === "aborted") throw signal.reason ?? new Error("generation was ended");
        waiting.delete(index);
        addToNote(c, next.value);
        yield { index, result: next.value };
      } else {
        yield { index, piece: next.value };
        waiting.set(index, turn(index));
      }
    }
  } finally {
    // Nobody waits for the others: one that has no place yet ends by the signal, when the engine looks at it.
    end();
    for (const pieces of all) pieces.return(undefined as never).catch(() => undefined);
  }
}

function addToNote(c: RequestContext, { promptTokens, ids }: GenerateResult): void {
  const note = c.get("note");
  note.promptTokens = promptTokens;
  note.completionTokens = Number(note.completionTokens ?? 0) + ids.length;
}

/** Results of all choices, by index. */
export async function allResults(
  events: AsyncGenerator<ChoiceEvent, void>,
): Promise<readonly GenerateResult[]> {
  const results: GenerateResult[] = [];
  for await (const event of events) if ("result" in event) results[event.index] = event.result;
  return results;
}

/** OpenAI's name for why a choice ended. */
export function finishReason({ finishReason }: GenerateResult): "stop" | "length" {
  return finishReason === "length" ? "length" : "stop";
}

/** Tokens of a whole request: its prompts, each counted once for all `perPrompt` choices of it, and all answers. */
export function usageOf(results: readonly GenerateResult[], perPrompt: number): Usage {
  const prompts = results.filter((_, i) => i % perPrompt === 0).reduce((n, r) => n + r.promptTokens, 0);
  const completion = results.reduce((n, r) => n + r.ids.length, 0);
  return { prompt_tokens: prompts, completion_tokens: completion, total_tokens: prompts + completion };
}

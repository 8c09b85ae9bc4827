import type { Decoder } from "./decoder.ts";
import { PROMPT_PIECE } from "./decoding.ts";
import { createInbox } from "./inbox.ts";
import { createLane, type Fed, type Lane } from "./lane.ts";
import type { GeneratedPiece } from "./request.ts";

/** Answers by a decoder, `rows` side by side. What it holds of `keptRows` answers that ended serves prompts that begin alike. */
export function laneOf(decoder: Decoder, rows: number, keptRows: number): Lane {
  return createLane({
    cache: decoder.cache,
    rows,
    keptRows,
    piece: PROMPT_PIECE,
    prepare: async () => ({ decoding: decoder.decoding, feeds: {} }),
    release: async () => undefined,
  });
}

/** Answers one request by a lane that has no other, as far as its reader goes on. @throws what computing throws */
export async function* answered(
  lane: Lane,
  continuation: Fed,
  signal?: AbortSignal,
): AsyncGenerator<GeneratedPiece, void> {
  const inbox = createInbox();
  let isLeft = false;
  await lane.admit({
    continuation,
    voice: "",
    get isCancelled() {
      return isLeft || signal?.aborted === true;
    },
    give: inbox.give,
    end: inbox.end,
  });
  try {
    while (lane.running > 0) {
      await lane.step();
      yield* inbox.taken();
    }
    yield* inbox.read();
  } finally {
    isLeft = true;
    if (lane.running > 0) await lane.step(); // gives its row back
  }
}

import type { OnProgress } from "../io/progress.ts";
import { nextTurn } from "../io/turn.ts";
import type { DatasetRow, Rows } from "./rows.ts";
import type { Spill } from "./spill.ts";

/** What work on many rows is given. */
export interface RowWork {
  /** Where examples go that are too many for memory; null (default): all stay in it. */
  readonly spill?: Spill | null | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Told of work that takes long. */
  readonly onProgress?: OnProgress | undefined;
}

/** From so many bytes on, progress is told of. */
export const LONG_WORK_BYTES: number = 8 * 2 ** 20;
/** Others have their turn after so long. */
const TURN_MS = 50;

/** Visits every row in order, and lets other work go on in between. @throws what the signal says */
export async function visitRows(
  rows: Rows,
  what: string,
  { signal, onProgress }: RowWork,
  visit: (row: DatasetRow, index: number) => void,
): Promise<void> {
  const totalBytes = rows.sizeBytes ?? 0;
  const tell = (doneBytes: number): void => {
    if (totalBytes >= LONG_WORK_BYTES) onProgress?.({ what, doneBytes, totalBytes });
  };
  let index = 0;
  let turnEnds = performance.now() + TURN_MS;
  for (const row of rows) {
    visit(row, index++);
    if (performance.now() < turnEnds) continue;
    tell(Math.floor((totalBytes * index) / rows.length));
    await nextTurn();
    signal?.throwIfAborted();
    turnEnds = performance.now() + TURN_MS;
  }
  tell(totalBytes);
}

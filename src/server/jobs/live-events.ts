import { eventText } from "../event-stream.ts";
import { isEnded } from "./job-store.ts";
import type { Jobs } from "./jobs.ts";
import { eventAnswer } from "./objects.ts";

const PAGE = 100;
/** A proxy, and a client that is gone without a word, show within this time. */
const PING_MS = 15_000;

/** Events of a job as they come, the oldest first, until it has ended or the signal. `after`: id of the last one that is known. */
export async function* liveEvents(
  { folder, get }: Pick<Jobs, "folder" | "get">,
  jobId: string,
  after: string | undefined,
  signal: AbortSignal,
): AsyncGenerator<string> {
  const { events } = folder;
  let last = after;
  for (;;) {
    let isNew = false;
    let wake = (): void => undefined;
    const unwatch = events.onAdded(jobId, () => {
      isNew = true;
      wake();
    });
    try {
      const isOver = isEnded(get(jobId).status);
      const { rows } = events.list(jobId, { after: last, limit: PAGE, order: "asc" });
      for (const row of rows) {
        last = row.id;
        yield eventText(eventAnswer(row));
      }
      if (signal.aborted) return;
      if (rows.length > 0 || isNew) continue;
      if (isOver) {
        yield eventText("[DONE]");
        return;
      }
      const isQuiet = await new Promise<boolean>((resolve) => {
        const timer = setTimeout(() => resolve(true), PING_MS);
        wake = () => {
          clearTimeout(timer);
          resolve(false);
        };
        signal.addEventListener("abort", wake, { once: true });
      });
      signal.removeEventListener("abort", wake);
      if (isQuiet) yield ": waiting\n\n";
    } finally {
      unwatch();
    }
  }
}

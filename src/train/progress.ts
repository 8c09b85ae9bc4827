import type { OnProgress } from "../io/progress.ts";
import type { ProgressEvent } from "./events.ts";

/** Runs a task that reports through a callback, as a generator of its reports that returns its result. Of reports that come
 *  faster than they are read, the newest counts. */
export async function* reporting<E, T>(
  task: (report: (event: E) => void) => Promise<T>,
): AsyncGenerator<E, T> {
  let latest: E | null = null;
  let wake = (): void => {};
  let isDone = false;
  const result = task((event) => {
    latest = event;
    wake();
  }).finally(() => {
    isDone = true;
    wake();
  });
  result.catch(() => {}); // handled by whoever awaits the generator
  for (;;) {
    const event = latest as E | null;
    latest = null;
    if (event !== null) yield event;
    else if (isDone) return result;
    else
      await new Promise<void>((resolve) => {
        wake = resolve;
        if (isDone || latest !== null) resolve();
      });
  }
}

/** `reporting` for downloads and conversions. */
export function withProgress<T>(
  task: (onProgress: OnProgress) => Promise<T>,
): AsyncGenerator<ProgressEvent, T> {
  return reporting<ProgressEvent, T>((report) => task((p) => report({ type: "progress", ...p })));
}

import { useEffect, useState } from "preact/hooks";
import type { DashboardStatus } from "../src/server/dashboard/shapes.ts";
import { ApiError, askJson, messageOf } from "./api.ts";

/** A key may be limited to a number of requests per minute, which others need too. */
const EVERY_MS = 2000;

/** What the server said last. */
export interface StatusView {
  readonly status: DashboardStatus | null;
  /** The time of `status`, as `performance.now()` gives it. */
  readonly atMs: number;
  readonly previous: { readonly status: DashboardStatus; readonly atMs: number } | null;
  readonly error: string | null;
  readonly needsKey: boolean;
}

/** The view, and how to look before it is time. */
export interface Status {
  readonly view: StatusView;
  lookNow(): void;
}

const NOTHING: StatusView = { status: null, atMs: 0, previous: null, error: null, needsKey: false };

/** Asks for the server's status again and again while the page is seen. Another `key` starts anew. */
export function useStatus(key: string | null): Status {
  const [view, setView] = useState(NOTHING);
  const [round, setRound] = useState(0);
  useEffect(() => {
    const controller = new AbortController();
    let timer = 0;
    const look = async (): Promise<void> => {
      clearTimeout(timer);
      const waitMs = document.hidden ? EVERY_MS : await lookOnce(setView, controller.signal);
      if (waitMs !== null && !controller.signal.aborted) timer = window.setTimeout(look, waitMs);
    };
    void look();
    return () => {
      clearTimeout(timer);
      controller.abort();
    };
  }, [key, round]);
  return { view, lookNow: () => setRound((before) => before + 1) };
}

/** Milliseconds to wait for the next look; null: there is none. */
async function lookOnce(
  setView: (change: (before: StatusView) => StatusView) => void,
  signal: AbortSignal,
): Promise<number | null> {
  try {
    const status = await askJson<DashboardStatus>("dashboard/status", signal);
    const atMs = performance.now();
    setView((before) => ({
      status,
      atMs,
      previous: before.status === null ? null : { status: before.status, atMs: before.atMs },
      error: null,
      needsKey: false,
    }));
    return EVERY_MS;
  } catch (error) {
    if (signal.aborted) return null;
    const needsKey = error instanceof ApiError && error.status === 401;
    setView((before) => ({ ...before, error: messageOf(error), needsKey }));
    if (needsKey) return null;
    return error instanceof ApiError && error.retryAfter ? error.retryAfter * 1000 : EVERY_MS;
  }
}

/** Lets other work have its turn. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    // Browsers have no `setImmediate`; their timers are as good where a turn comes every 50 ms.
    if (typeof setImmediate === "function") setImmediate(resolve);
    else setTimeout(resolve, 0);
  });
}

/** Waits. */
export function delay(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

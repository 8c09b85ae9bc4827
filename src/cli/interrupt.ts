import { EXIT } from "./errors.ts";

export interface Interrupts {
  /** Aborted by the first Ctrl-C (or SIGTERM); the second ends the process at once. */
  readonly signal: AbortSignal;
  dispose(): void;
}

/** Turns Ctrl-C into an abort signal. `onFirst` tells the user what happens now. */
export function watchInterrupts(onFirst: () => void): Interrupts {
  const controller = new AbortController();
  const interrupt = (): void => {
    if (controller.signal.aborted) process.exit(EXIT.interrupted);
    controller.abort();
    onFirst();
  };
  process.on("SIGINT", interrupt);
  process.on("SIGTERM", interrupt);
  return {
    signal: controller.signal,
    dispose: () => {
      process.off("SIGINT", interrupt);
      process.off("SIGTERM", interrupt);
    },
  };
}

import { EXIT } from "./errors.ts";

/** The signals that end a command, and its exit status: Ctrl-C, a request to end, a terminal that was closed. */
const STATUS: Readonly<Record<string, number>> = {
  SIGINT: EXIT.interrupted,
  SIGTERM: EXIT.terminated,
  SIGHUP: EXIT.hungUp,
};

/** A launcher such as npm passes on the Ctrl-C that the terminal has sent already: within this time it is the same one. */
const SAME_PRESS_MS = 300;

export interface Interrupts {
  /** Aborted by the first Ctrl-C (or SIGTERM, or SIGHUP); the second ends the process at once. */
  readonly signal: AbortSignal;
  /** Status to exit with after an abort: 128 + the signal's number, as shells count. */
  readonly exitCode: number;
  dispose(): void;
}

/** Turns Ctrl-C into an abort signal. `onFirst` tells the user what happens now. */
export function watchInterrupts(onFirst: () => void): Interrupts {
  const controller = new AbortController();
  let firstMs = 0;
  let exitCode: number = EXIT.interrupted;
  const interrupt = (name: NodeJS.Signals): void => {
    if (controller.signal.aborted) {
      if (performance.now() - firstMs >= SAME_PRESS_MS) endAtOnce(name);
      return;
    }
    exitCode = STATUS[name] ?? EXIT.interrupted;
    firstMs = performance.now();
    controller.abort();
    onFirst();
  };
  const dispose = (): void => {
    for (const name of Object.keys(STATUS)) process.off(name, interrupt);
  };
  // By the signal itself: exiting would wait for what the execution engine has under way, for minutes with a large model.
  const endAtOnce = (name: NodeJS.Signals): void => {
    dispose();
    process.kill(process.pid, name);
  };
  for (const name of Object.keys(STATUS)) process.on(name, interrupt);
  return {
    signal: controller.signal,
    get exitCode() {
      return exitCode;
    },
    dispose,
  };
}

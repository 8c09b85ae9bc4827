import { CommanderError } from "commander";
import { InputError, LowrankError } from "../errors.ts";
import { printable } from "./display/text.ts";

/** Exit statuses: what a shell script can tell apart. */
export const EXIT = { ok: 0, failed: 1, usage: 2, interrupted: 130, terminated: 143, hungUp: 129 } as const;

/** The command line or a config file is wrong: reported as it is, exit status 2. */
export class UsageError extends LowrankError {
  constructor(message: string, options?: ErrorOptions) {
    super("usage", message, options);
  }

  /** Runs `check`; what it says about the user's input is about usage. */
  static from<T>(check: () => T): T {
    try {
      return check();
    } catch (error) {
      throw error instanceof InputError ? new UsageError(error.message, { cause: error }) : error;
    }
  }

  /** The same for a promise. */
  static async fromAsync<T>(check: () => Promise<T>): Promise<T> {
    try {
      return await check();
    } catch (error) {
      throw error instanceof InputError ? new UsageError(error.message, { cause: error }) : error;
    }
  }
}

/** What to print about an error, and the exit status. */
export interface Failure {
  /** Empty where everything was said already. */
  readonly message: string;
  readonly exitCode: number;
}

/** Sorts what ended a command: usage, a failure that explains itself, an interrupt, or a defect (with its stack). */
export function failureOf(error: unknown, isDebug: boolean): Failure {
  if (error instanceof CommanderError)
    return { message: "", exitCode: error.exitCode === 0 ? EXIT.ok : EXIT.usage };
  if (isAbort(error)) return { message: isDebug ? stackOf(error) : "stopped", exitCode: EXIT.interrupted };
  if (error instanceof LowrankError) {
    const exitCode = error instanceof UsageError ? EXIT.usage : EXIT.failed;
    return { message: printable(`error: ${isDebug ? stackOf(error) : error.message}`), exitCode };
  }
  const message = `error: this is a defect in lowrank, please report it with what follows\n${stackOf(error)}`;
  return { message: printable(message), exitCode: EXIT.failed };
}

function isAbort(error: unknown): boolean {
  return error instanceof Error && (error.name === "AbortError" || error.name === "Interrupted");
}

function stackOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const own = error.stack ?? error.message;
  return error.cause === undefined ? own : `${own}\ncaused by: ${stackOf(error.cause)}`;
}

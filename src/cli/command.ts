import type { Command } from "commander";
import type { Output } from "./display/output.ts";

/** Where a command writes, and how it says how it went. */
export interface Cli {
  /** Results. */
  readonly out: Output;
  /** Progress and notes of commands whose result may be piped on. */
  readonly err: Output;
  /** Exit status where it is not 0. */
  exitCode: number;
}

/** What a command's file exports as `build`: adds arguments, options, examples and the action to its `command`. */
export type BuildCommand = (command: Command, cli: Cli) => void;

/** A line in the table of commands. The command's file is loaded only when it is asked for. */
export interface CommandEntry {
  readonly name: string;
  readonly summary: string;
  load(): Promise<{ readonly build: BuildCommand }>;
}

/** Examples under a command's help. */
export function examples(lines: readonly string[]): string {
  return `\nExamples:\n${lines.map((line) => `  $ ${line}`).join("\n")}`;
}

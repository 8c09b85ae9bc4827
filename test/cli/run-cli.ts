import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { constants } from "node:os";
import { fileURLToPath } from "node:url";

/** A file of the build that these tests run: `dist/`, or the folder in LOWRANK_TEST_DIST. */
export function distFile(path: string): string {
  const dist = process.env.LOWRANK_TEST_DIST ?? fileURLToPath(new URL("../../dist", import.meta.url));
  const file = `${dist}/${path}`;
  if (!existsSync(file)) throw new Error(`${file} is not there: run \`npm run build\` first`);
  return file;
}

/** What a child process did. */
export interface Ran {
  /** As a shell reports it: 128 + the signal's number for a process that a signal ended. */
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly input?: string;
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Called with everything written to stdout so far, whenever there is more. */
  readonly onOutput?: (stdout: string, child: { kill(signal: NodeJS.Signals): unknown }) => void;
}

/** Runs `lowrank` as a user would. */
export function runCli(args: readonly string[], options: RunOptions = {}): Promise<Ran> {
  return runNode([distFile("cli/main.js"), ...args], options);
}

/** Runs a script in Node. */
export function runNode(args: readonly string[], options: RunOptions = {}): Promise<Ran> {
  return runProgram(process.execPath, args, options);
}

/** Runs any program. */
export function runProgram(program: string, args: readonly string[], options: RunOptions = {}): Promise<Ran> {
  const { NO_COLOR: _no, FORCE_COLOR: _force, ...env } = process.env;
  const child = spawn(program, args, { cwd: options.cwd, env: { ...env, ...options.env } });
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (data) => {
    stdout += data;
    options.onOutput?.(stdout, child);
  });
  child.stderr.on("data", (data) => {
    stderr += data;
  });
  child.stdin.end(options.input ?? "");
  return new Promise((resolve) =>
    child.on("close", (code, signal) => {
      const exitCode = signal === null ? code : 128 + constants.signals[signal];
      resolve({ exitCode, stdout, stderr });
    }),
  );
}

import { fork } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { TrainConfig } from "../../train/config/config.ts";
import type { DoneEvent } from "../../train/events.ts";
import { gibibytes } from "../../train/memory-limit.ts";
import type { ProcessIdentity } from "../../train/process.ts";
import { watchMemory } from "./memory.ts";
import type { Order, Report } from "./protocol.ts";
import type { KeptEvent } from "./thinned.ts";

// Sources run under a TypeScript loader in tests, but a process of its own needs JavaScript: the built file then.
const SOURCE = /src\/server\/jobs\/process\.ts$/;
const STDERR_KEPT = 2000;

/** How a process of a job ended. */
export type ProcessEnd =
  | { readonly type: "done"; readonly event: DoneEvent }
  | { readonly type: "stopped" }
  | { readonly type: "failed"; readonly code: string; readonly message: string };

export interface ProcessOptions {
  readonly config: TrainConfig;
  /** Go on from the newest checkpoint. */
  readonly isResumed: boolean;
  /** From the order to stop to the end by force. */
  readonly killAfterMs: number;
  /** Memory that it may take: one that takes more is ended. */
  readonly limitBytes: number;
  /** Who trains, before it does anything. */
  readonly onStart: (identity: ProcessIdentity) => void;
  readonly onEvent: (event: KeptEvent) => void;
}

/** A job's process under way. */
export interface JobProcess {
  /** Never rejects. */
  readonly ended: Promise<ProcessEnd>;
  /** Lets it write a checkpoint and end; after a time it is ended. */
  stop(): void;
}

/** Trains in a process of its own. What goes wrong there, or here with what it tells, ends the job alone. */
export function startProcess(options: ProcessOptions): JobProcess {
  const { config, isResumed, killAfterMs, limitBytes, onStart, onEvent } = options;
  // Its own group: Ctrl-C in the server's terminal is for the server, which tells its jobs.
  const child = fork(childPath(), [], {
    detached: true,
    execArgv: [],
    stdio: ["ignore", "ignore", "pipe", "ipc"],
    serialization: "advanced",
  });
  const send = (order: Order): void => {
    if (child.connected) child.send(order, () => undefined);
  };
  let [stderr, isStopped, reportedBytes] = ["", false, 0];
  let result: ProcessEnd | null = null;
  let killTimer: NodeJS.Timeout | undefined;
  const stop = (): void => {
    if (isStopped) return;
    isStopped = true;
    send({ type: "stop" });
    killTimer = setTimeout(() => child.kill("SIGKILL"), killAfterMs);
  };
  const fail = (code: string, message: string): void => {
    result = { type: "failed", code, message };
  };
  const take = (report: Report): void => {
    if (report.type === "memory") reportedBytes = report.residentBytes;
    else if (report.type === "error") fail(report.code, report.message);
    else if (report.type === "event") {
      if (report.event.type === "done") result = { type: "done", event: report.event };
      onEvent(report.event);
    } else {
      onStart(report.identity);
      if (!isStopped) send({ type: "train", config, isResumed, limitBytes });
    }
  };
  child.on("message", (report: Report) => {
    try {
      take(report);
    } catch (error) {
      fail("job_state", `the server could not keep what the job said: ${(error as Error).message}`);
      stop();
    }
  });
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    stderr = (stderr + text).slice(-STDERR_KEPT);
  });
  const unwatch = watchMemory(
    child.pid ?? 0,
    limitBytes,
    () => reportedBytes,
    (bytes) => {
      if (result === null) fail("memory_limit", exceededText(bytes, limitBytes));
      child.kill("SIGKILL");
    },
  );
  const ended = new Promise<ProcessEnd>((resolve) => {
    const settle = (otherwise: ProcessEnd): void => {
      clearTimeout(killTimer);
      unwatch();
      resolve(result ?? (isStopped ? { type: "stopped" } : otherwise));
    };
    child.once("error", (error) =>
      settle({ type: "failed", code: "training_crashed", message: error.message }),
    );
    child.once("close", (code, signal) => settle(unexpectedEnd(code, signal, stderr)));
  });
  return { ended, stop };
}

function exceededText(bytes: number, limitBytes: number): string {
  return (
    `the process of the job took ${gibibytes(bytes)} of memory, more than the ${gibibytes(limitBytes)} that a job of this server may take, ` +
    "and was ended: a smaller batch, a lower maxLength or rank takes less"
  );
}

function unexpectedEnd(code: number | null, signal: string | null, stderr: string): ProcessEnd {
  // Somebody else told it to stop, as a machine that is shut down tells every process.
  if (code === 0) return { type: "stopped" };
  const how = signal === "SIGKILL" ? "SIGKILL (perhaps memory ran out)" : (signal ?? `status ${code}`);
  const last = stderr.trim() === "" ? "" : `: ${stderr.trim()}`;
  return {
    type: "failed",
    code: "training_crashed",
    message: `the process of the job ended by ${how}${last}`,
  };
}

function childPath(): string {
  const here = import.meta.url;
  const path = fileURLToPath(
    SOURCE.test(here) ? here.replace(SOURCE, "dist/server/jobs/child.js") : new URL("./child.js", here),
  );
  if (!existsSync(path)) throw new Error(`${path} is not there: build first`);
  return path;
}

import { fork } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Device } from "../device.ts";
import { STEP_LIMIT } from "./measure.ts";
import type { Checked, CheckReport } from "./protocol.ts";

// Sources run under a TypeScript loader in tests, but a process of its own needs JavaScript: the built file then.
const SOURCE = /src\/runtime\/check\/run\.ts$/;

/** How a check ended. */
export type CheckResult =
  | {
      readonly state: "passed" | "wrong";
      readonly checked: Checked;
    }
  | {
      /** Not there, crashed (the process ended), ended by others (the system for its memory, a user), or still under way when its time was over. */
      readonly state: "missing" | "crashed" | "stopped" | "late";
      readonly message: string;
    };

/** Compiling shaders takes a second or two on a GPU, several times that on a software driver. */
export const CHECK_LIMIT_MS = 60_000;
const STDERR_KEPT = 1000;
/** No driver ends a process by these. */
const OTHERS_SIGNALS: readonly string[] = ["SIGINT", "SIGTERM", "SIGHUP", "SIGKILL"];

/** Computes one small training step on a device, in a process of its own with a time limit, and compares it with the CPU's. A terminal's Ctrl-C
 *  does not reach it: a check that somebody stopped would say that the device crashed. Never rejects. `child`: another process's file, for tests. */
export function runCheck(
  device: Device,
  limitMs: number = CHECK_LIMIT_MS,
  child: string | null = childPath(),
): Promise<CheckResult> {
  if (child === null)
    return Promise.resolve({ state: "missing", message: "the file of the check is not there: build first" });
  const process = fork(child, [device], {
    detached: true,
    execArgv: [],
    stdio: ["ignore", "ignore", "pipe", "ipc"],
    serialization: "advanced", // JSON has no NaN
  });
  let [stderr, result, isLate]: [string, CheckResult | null, boolean] = ["", null, false];
  const timer = setTimeout(() => {
    isLate = true;
    process.kill("SIGKILL");
  }, limitMs);
  process.stderr?.setEncoding("utf8").on("data", (text: string) => {
    stderr = (stderr + text).slice(-STDERR_KEPT);
  });
  process.on("message", (report: CheckReport) => {
    result = resultOf(report);
  });
  return new Promise((resolve) => {
    const settle = (otherwise: CheckResult): void => {
      clearTimeout(timer);
      resolve(result ?? otherwise);
    };
    process.once("error", ({ message }) => settle({ state: "crashed", message }));
    process.once("close", (code, signal) => {
      const said = stderr.trim().split("\n").at(-1) as string;
      const how = `the process ended by ${signal ?? `status ${code}`}${said === "" ? "" : `: ${said}`}`;
      const isOthers = signal !== null && OTHERS_SIGNALS.includes(signal);
      settle(
        isLate
          ? { state: "late", message: `no answer after ${limitMs / 1000} s` }
          : { state: isOthers ? "stopped" : "crashed", message: how },
      );
    });
  });
}

function resultOf(report: CheckReport): CheckResult {
  if (report.type === "failed") return { state: "missing", message: report.message };
  const { checked } = report;
  const { loss, gradient } = checked.errors;
  return { state: loss <= STEP_LIMIT && gradient <= STEP_LIMIT ? "passed" : "wrong", checked };
}

function childPath(): string | null {
  const here = import.meta.url;
  const path = fileURLToPath(
    SOURCE.test(here) ? here.replace(SOURCE, "dist/runtime/check/child.js") : new URL("./child.js", here),
  );
  return existsSync(path) ? path : null;
}

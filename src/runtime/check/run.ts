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
      /** Not there, crashed (the process ended), or still under way when its time was over. */
      readonly state: "missing" | "crashed" | "late";
      readonly message: string;
    };

/** Compiling shaders takes a second or two on a GPU, several times that on a software driver. */
export const CHECK_LIMIT_MS = 60_000;
const STDERR_KEPT = 1000;

/** Computes one small training step on a device, in a process of its own with a time limit, and compares it with the CPU's. Never
 *  rejects. `child`: another process's file, for tests. */
export function runCheck(
  device: Device,
  limitMs: number = CHECK_LIMIT_MS,
  child: string = childPath(),
): Promise<CheckResult> {
  const process = fork(child, [device], {
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
      settle(
        isLate
          ? { state: "late", message: `no answer after ${limitMs / 1000} s` }
          : { state: "crashed", message: how },
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

function childPath(): string {
  const here = import.meta.url;
  const path = fileURLToPath(
    SOURCE.test(here) ? here.replace(SOURCE, "dist/runtime/check/child.js") : new URL("./child.js", here),
  );
  if (!existsSync(path)) throw new Error(`${path} is not there: build first`);
  return path;
}

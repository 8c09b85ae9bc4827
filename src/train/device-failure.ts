import { RuntimeError, TrainingError } from "../errors.ts";
import { type DeviceFault, deviceFault } from "../runtime/fault.ts";
import { type Run, resumeCommand, whatIsKept } from "./run.ts";

const WHAT: Readonly<Record<DeviceFault, string>> = {
  memory: "the device's memory is full",
  binding: "a tensor is larger than the device's shaders take",
  lost: "the device was lost (its driver was reset, or another program took it)",
};

/** What takes less than the run as it is. */
function whatTakesLess({ config, plan }: Pick<Run, "config" | "plan">): string {
  const { batchSize, accumulation, baseBits } = config;
  const half = Math.ceil(batchSize / 2);
  const ways = [
    ...(batchSize > 1
      ? [`batchSize ${half} with accumulation ${Math.ceil((accumulation * batchSize) / half)}`]
      : []),
    ...(plan.recompute === "layer" ? [] : ['recompute "layer"']),
    ...(baseBits === 4 ? [] : [`baseBits ${baseBits === 32 ? "8 or 4" : "4"}`]),
    "a lower maxLength",
  ];
  return `Less is taken by ${ways.join(", ")}`;
}

/** The error of a step: what a device's fault means for the run, with what is kept and what would take less; others as they are. */
export function deviceFailure(
  run: Pick<Run, "config" | "plan" | "savedStep" | "folder">,
  step: number,
  error: unknown,
): unknown {
  const fault = error instanceof RuntimeError ? deviceFault(error.message) : null;
  if (fault === null) return error;
  const { message } = error as RuntimeError;
  const advice = fault === "lost" ? "" : ` ${whatTakesLess(run)}.`;
  return new TrainingError(
    `step ${step}: ${WHAT[fault]}; stopped, ${whatIsKept(run)}.${advice} Go on with: ${resumeCommand(run.folder)}. ` +
      `The engine says: ${message.split("\n")[0]}`,
    { cause: error },
  );
}

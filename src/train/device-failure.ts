import { RuntimeError, TrainingError } from "../errors.ts";
import { type DeviceFault, deviceFault } from "../runtime/fault.ts";
import { type Run, whatIsKept } from "./run.ts";

const WHAT: Readonly<Record<DeviceFault, string>> = {
  memory: "the device's memory is full",
  binding: "a tensor is larger than the device's shaders take",
  lost: "the device was lost (its driver was reset, or another program took it)",
};

/** What to do about it. A run goes on with another `--recompute` alone; with other batches, bits or lengths it is a new one. */
function adviceOn(
  fault: DeviceFault,
  { config, plan, store }: Pick<Run, "config" | "plan" | "store">,
): string {
  const { resumeHint } = store;
  if (fault === "lost") return resumeHint === null ? "" : ` Go on with: ${resumeHint}.`;
  const { batchSize, accumulation, baseBits } = config;
  const half = Math.ceil(batchSize / 2);
  const ways = [
    ...(batchSize > 1
      ? [`batchSize ${half} with accumulation ${Math.ceil((accumulation * batchSize) / half)}`]
      : []),
    ...(baseBits === 4 ? [] : [`baseBits ${baseBits === 32 ? "8 or 4" : "4"}`]),
    "a lower maxLength",
  ];
  const onward =
    plan.recompute === "layer" || resumeHint === null
      ? ""
      : ` Go on with less memory: ${resumeHint} --recompute layer.`;
  return `${onward} A new run takes less with ${ways.join(", ")}.`;
}

/** The error of a step: what a device's fault means for the run, with what is kept and what would take less; others as they are. */
export function deviceFailure(
  run: Pick<Run, "config" | "plan" | "savedStep" | "store">,
  step: number,
  error: unknown,
): unknown {
  const fault = error instanceof RuntimeError ? deviceFault(error.message) : null;
  if (fault === null) return error;
  const { message } = error as RuntimeError;
  return new TrainingError(
    `step ${step}: ${WHAT[fault]}; stopped, ${whatIsKept(run)}.${adviceOn(fault, run)} ` +
      `The engine says: ${message.split("\n")[0]}`,
    { cause: error },
  );
}

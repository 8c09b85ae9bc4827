import { LowrankError } from "../errors.ts";
import type { Workload } from "./estimate.ts";
import { RECOMPUTE_LEVELS, type Recompute } from "./step-graphs.ts";

/** A run whose memory has a limit, and what it would take if it were made otherwise. */
export interface LimitedRun {
  readonly batchSize: number;
  readonly accumulation: number;
  readonly recompute: Recompute;
  /** Estimated bytes of the run as it is. */
  readonly memoryBytes: number;
  /** Estimated bytes with micro-batches of another size. */
  bytesAt(batchSize: number, recompute: Recompute): number;
}

/** The work with micro-batches of `share` of their examples. */
export function withBatches(work: Workload, share: number): Workload {
  if (share === 1) return work;
  const trieTokensPerBatch = work.trieTokensPerBatch * share;
  return {
    batches: work.batches / share,
    trieTokensPerBatch,
    rowTokens: Math.min(work.rowTokens, trieTokensPerBatch),
    labelsPerBatch: work.labelsPerBatch * share,
  };
}

/** @throws LowrankError ("memory_limit") for a run that is estimated to take more than the limit; says what would fit */
export function checkMemory(run: LimitedRun, limitBytes: number): void {
  const { memoryBytes, batchSize } = run;
  if (memoryBytes <= limitBytes) return;
  const smallest = run.bytesAt(1, "layer");
  const advice =
    whatFits(run, limitBytes) ??
    (batchSize === 1 && run.recompute === "layer"
      ? "a lower maxLength or rank, fewer modules or a smaller base takes less"
      : `one example at a time, with as much as possible computed again, still takes about ${gibibytes(smallest)}; a lower maxLength or rank, fewer modules or a smaller base takes less`);
  throw new LowrankError(
    "memory_limit",
    `the run would take about ${gibibytes(memoryBytes)} of memory, and may take ${gibibytes(limitBytes)}: ${advice}`,
  );
}

/** The largest micro-batch that fits, with as little computed again as that allows; null where none does. */
function whatFits(run: LimitedRun, limitBytes: number): string | null {
  for (let size = run.batchSize; size >= 1; size = Math.floor(size / 2))
    for (const recompute of RECOMPUTE_LEVELS) {
      const bytes = run.bytesAt(size, recompute);
      if (bytes <= limitBytes) return `${settingsText(run, size, recompute)} takes about ${gibibytes(bytes)}`;
    }
  return null;
}

function settingsText({ batchSize, accumulation }: LimitedRun, size: number, recompute: Recompute): string {
  const parts = [`recompute "${recompute}"`];
  if (size < batchSize)
    parts.unshift(`batchSize ${size} and accumulation ${Math.ceil((accumulation * batchSize) / size)}`);
  return parts.join(" with ");
}

/** "1.25 GiB" */
export function gibibytes(bytes: number): string {
  return `${(bytes / 2 ** 30).toLocaleString("en", { maximumFractionDigits: 2 })} GiB`;
}

import { availableParallelism, cpus } from "node:os";
import type { ProcessGroup } from "./group.ts";

/** Threads for a member, where nobody says how many: its part of the machine's cores. A launcher that gave it cores of its own has shared them
 *  out already. null: as many as there are, for a process by itself. */
export function threadsOf({ localSize }: Pick<ProcessGroup, "localSize">): number | null {
  if (localSize === 1) return null;
  const own = availableParallelism();
  return own < cpus().length ? own : Math.max(1, Math.floor(own / localSize));
}

import { setTimeout as delay } from "node:timers/promises";
import type { ProcessGroup } from "../parallel/group.ts";
import type { Cli } from "./command.ts";
import { failureOf } from "./errors.ts";

/** What all members fail at is told by the first alone, which has this long for it. */
const FIRST_TELLS_MS = 2000;
/** Seconds from Ctrl-C to SIGTERM, and again to SIGKILL: how Open MPI names and sets it. It waits so after a failure too, so it should not be a
 *  minute. */
const GRACE = { name: "odls_base_sigkill_timeout", usual: 1, enough: 5, advised: 10 } as const;

/** Runs a command's work as a member of the group that `mpirun` started, or alone. `notices`: what to say of how it was started.
 *  One that fails ends all: without it the others would wait for ever. */
export async function asMember(
  cli: Cli,
  work: (group: ProcessGroup, notices: readonly string[]) => Promise<void>,
): Promise<void> {
  const { openProcessGroup } = await import("../parallel/mpi.ts");
  const group = await openProcessGroup();
  try {
    await work(group, noticesOf(process.env));
    // A launcher that ends its processes answers them no more: leaving the group would wait for it.
    if (cli.exitCode === 0) group.close();
  } catch (error) {
    if (group.size === 1) throw error;
    if (group.rank > 0) await delay(FIRST_TELLS_MS);
    const { message, exitCode } = failureOf(error, process.argv.includes("--debug"));
    if (message !== "") cli.err.write(`rank ${group.rank} of ${group.size}: ${message}\n`);
    group.abort(exitCode);
  }
}

function noticesOf(environment: NodeJS.ProcessEnv): readonly string[] {
  if (environment.OMPI_COMM_WORLD_SIZE === undefined) return [];
  const seconds = Number(environment[`OMPI_MCA_${GRACE.name}`] ?? GRACE.usual);
  if (seconds >= GRACE.enough) return [];
  return [
    `mpirun kills processes ${seconds} s after Ctrl-C, which may be too soon for a checkpoint: give it --mca ${GRACE.name} ${GRACE.advised}`,
  ];
}

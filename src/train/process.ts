import { readFile, readlink } from "node:fs/promises";
import { hostname } from "node:os";

/** A process that can be recognised later, although its number may be given to another. */
export interface ProcessIdentity {
  readonly pid: number;
  readonly host: string;
  /** Linux: boot id and pid namespace, in which the number means something; null elsewhere. */
  readonly boot: string | null;
  readonly namespace: string | null;
  /** Linux: clock ticks between boot and the start of the process; null elsewhere. */
  readonly startTicks: string | null;
}

/** The identity of this process. */
export async function ownIdentity(): Promise<ProcessIdentity> {
  const [boot, namespace, stat] = await Promise.all([bootId(), pidNamespace(), statOf(process.pid)]);
  return { pid: process.pid, host: hostname(), boot, namespace, startTicks: stat?.startTicks ?? null };
}

/** Whether the process lives; "unknown" where it belongs to another machine or container. */
export async function processState(identity: ProcessIdentity): Promise<"alive" | "gone" | "unknown"> {
  const own = await ownIdentity();
  if (identity.host !== own.host) return "unknown";
  if (identity.boot !== own.boot) return "gone"; // the machine was started anew
  if (identity.namespace !== own.namespace) return "unknown";
  if (!answersSignals(identity.pid)) return "gone";
  if (identity.startTicks === null) return "alive";
  const stat = await statOf(identity.pid);
  return stat && !stat.isDead && stat.startTicks === identity.startTicks ? "alive" : "gone";
}

function answersSignals(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM"; // it lives, and belongs to another user
  }
}

async function bootId(): Promise<string | null> {
  return readFile("/proc/sys/kernel/random/boot_id", "utf8").then(
    (text) => text.trim(),
    () => null,
  );
}

async function pidNamespace(): Promise<string | null> {
  return readlink("/proc/self/ns/pid").catch(() => null);
}

/** Fields 3 (state) and 22 (start time) of /proc/<pid>/stat; null where there is no such file. */
async function statOf(pid: number): Promise<{ isDead: boolean; startTicks: string } | null> {
  const text = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => null);
  if (text === null) return null;
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" "); // the name before may hold spaces and ")"
  return { isDead: /^[ZX]/.test(fields[0] ?? ""), startTicks: fields[19] ?? "" };
}

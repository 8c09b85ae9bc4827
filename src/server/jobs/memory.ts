import { readFile } from "node:fs/promises";
import { totalmem } from "node:os";

/** Of the machine's memory, what all jobs together may take where nobody says: the rest is the server's own, and that of a preview, which trains nothing. */
const SHARE = 0.7;
const EVERY_MS = 250;

/** Bytes that a job may take where nobody says: its part of the machine, or of the container. */
export function defaultJobBytes(maxJobs: number): number {
  const contained = process.constrainedMemory();
  const all = contained > 0 ? Math.min(contained, totalmem()) : totalmem();
  return Math.floor((SHARE * all) / Math.max(1, maxJobs));
}

/** Resident bytes of a process; null where the system does not say. */
async function residentBytes(pid: number): Promise<number | null> {
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  const kibibytes = /^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1];
  return kibibytes === undefined ? null : Number(kibibytes) * 1024;
}

/** Looks again and again at what a process takes, and calls once when that is more than the limit. `reported`: what the process says
 *  of itself, for systems that say nothing of others. Returns what ends it. */
export function watchMemory(
  pid: number,
  limitBytes: number,
  reported: () => number,
  onExceeded: (bytes: number) => void,
): () => void {
  const look = async (): Promise<void> => {
    const bytes = (await residentBytes(pid)) ?? reported();
    if (isOver || bytes <= limitBytes) return;
    end();
    onExceeded(bytes);
  };
  let isOver = false;
  const timer = setInterval(() => void look(), EVERY_MS);
  timer.unref();
  const end = (): void => {
    isOver = true;
    clearInterval(timer);
  };
  return end;
}

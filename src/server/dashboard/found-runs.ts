import { realpath, stat } from "node:fs/promises";
import { join, sep } from "node:path";
import { readEntries } from "../../io/folder.ts";
import { requireInside } from "../../io/inside.ts";
import { CONFIG_FILE } from "../../train/config/file.ts";
import { METRICS_FILE } from "../../train/metrics-log.ts";

/** A run folder that was found. */
export interface FoundRun {
  readonly id: string;
  readonly folder: string;
  readonly changedMs: number;
  /** Changes whenever its log does. */
  readonly version: string;
}

/** Run folders, the one that changed last first: those below a folder, or the folder itself; without what lies in `leftOut`. */
export async function findRuns(folders: readonly string[], leftOut: string | null): Promise<FoundRun[]> {
  const found: FoundRun[] = [];
  const others = leftOut === null ? null : await realpath(leftOut).catch(() => null);
  const add = async (id: string, folder: string): Promise<void> => {
    const run = await runAt(id, folder);
    if (run === null || (others !== null && (await realpath(folder)).startsWith(others + sep))) return;
    found.push(run);
  };
  for (const [k, folder] of folders.entries()) {
    await add(`${k}/`, folder);
    for (const { name } of await readEntries(folder).catch(() => [])) {
      const isInside = await requireInside(folder, name).then(
        () => true,
        () => false,
      );
      if (isInside) await add(`${k}/${name}`, join(folder, name));
    }
  }
  return found.sort((a, b) => b.changedMs - a.changedMs);
}

/** The run in a folder; null where there is none. */
export async function runAt(id: string, folder: string): Promise<FoundRun | null> {
  const [config, log] = await Promise.all(
    [CONFIG_FILE, METRICS_FILE].map((name) => stat(join(folder, name)).catch(() => null)),
  );
  if (!config?.isFile()) return null;
  const changedMs = Math.max(config.mtimeMs, log?.mtimeMs ?? 0);
  return { id, folder, changedMs, version: `${log?.size ?? 0}-${changedMs}` };
}

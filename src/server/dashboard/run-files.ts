import { basename, dirname, join } from "node:path";
import { readBytesIfThere } from "../../io/disk.ts";
import { isObject, parseJsonObject } from "../../io/json.ts";
import { CONFIG_FILE } from "../../train/config/file.ts";
import { SUMMARY_FILE } from "../../train/summary.ts";

/** What the small files of a run folder say; null: they do not. */
export interface RunFacts {
  readonly model: string | null;
  readonly data: string | null;
  readonly method: string | null;
  readonly examples: number | null;
  readonly lossBefore: number | null;
  readonly lossAfter: number | null;
  readonly lossUnit: string;
  readonly isFinished: boolean;
}

/** Options and summary of a run; null where the folder is none. Damaged files say nothing. */
export async function readRunFacts(folder: string): Promise<RunFacts | null> {
  const config = await objectIn(join(folder, CONFIG_FILE));
  if (config === null) return null;
  const summary = await objectIn(join(folder, SUMMARY_FILE));
  const [plan, done] = [summary?.plan, summary?.done].map((part) => (isObject(part) ? part : {}));
  return {
    model: nameIn(config.model),
    data: namesIn(config.data),
    method: namesIn(config.method),
    examples: numberIn(plan?.examples),
    lossBefore: numberIn(done?.lossBefore),
    lossAfter: numberIn(done?.lossAfter),
    lossUnit: typeof plan?.lossUnit === "string" ? plan.lossUnit : "nats per token",
    isFinished: summary !== null,
  };
}

/** The run folder that an adapter's folder lies in: as `adapter/`, or as a checkpoint or within one. */
export function runFolderOf(adapterPath: string): string {
  const above = dirname(adapterPath);
  const checkpoints = [above, dirname(above)].find((folder) => basename(folder) === "checkpoints");
  return checkpoints === undefined ? above : dirname(checkpoints);
}

async function objectIn(path: string): Promise<Record<string, unknown> | null> {
  const bytes = await readBytesIfThere(path).catch(() => null);
  try {
    return bytes === null ? null : parseJsonObject(bytes, path);
  } catch {
    return null;
  }
}

/** Of a path its last part: where files lie is nobody's business. */
function nameIn(value: unknown): string | null {
  if (typeof value !== "string" || value === "") return null;
  return /^[./~\\]|^[A-Za-z]:/.test(value) ? basename(value.replaceAll("\\", "/")) : value;
}

function namesIn(value: unknown): string | null {
  const names = [value].flat().flatMap((one) => nameIn(one) ?? []);
  return names.length === 0 ? null : names.join(", ");
}

function numberIn(value: unknown): number | null {
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}

import { mkdir, readdir, stat } from "node:fs/promises";
import { basename, extname, join } from "node:path";
import { InputError, NotFoundError } from "../errors.ts";
import { makeFolder, readFolder } from "../io/folder.ts";
import type { TrainConfig } from "./config/config.ts";

const RUNS = "runs";

/** Creates (or, to resume, finds) the run folder of complete options and returns its path: `output` where it is given, else the next
 *  free `runs/<data>-<number>`. Two processes never get the same new folder.
 *  @throws InputError if `output` already holds something; NotFoundError if there is nothing to resume */
export async function prepareRunFolder(config: TrainConfig): Promise<string> {
  if (typeof config.resume === "string") return existingRun(config.resume);
  if (config.output === null) return newRunFolder(slug(config.name ?? config.data[0] ?? "run"));
  await makeFolder(config.output);
  const inside = await readFolder(config.output);
  if (inside.some((name) => !/^lock\./.test(name))) throw occupied(config.output);
  return config.output;
}

function occupied(folder: string): InputError {
  const message = `${folder} is not empty; go on with it (--resume ${folder}) or choose another folder`;
  return new InputError("the run folder cannot be used:", [{ where: "output", message }]);
}

async function existingRun(folder: string): Promise<string> {
  if (!(await isFolder(folder))) throw new NotFoundError(`there is no run folder ${folder} to resume`);
  return folder;
}

async function newRunFolder(prefix: string): Promise<string> {
  await makeFolder(RUNS);
  const taken = (await readFolder(RUNS)).map((name) => numberAfter(name, prefix));
  for (let n = Math.max(0, ...taken) + 1; ; n++) {
    const folder = join(RUNS, `${prefix}-${n}`);
    try {
      await mkdir(folder); // exclusive: fails where another process was first
      return folder;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
  }
}

function numberAfter(name: string, prefix: string): number {
  const rest = name.startsWith(`${prefix}-`) ? name.slice(prefix.length + 1) : "";
  return /^\d+$/.test(rest) ? Number(rest) : 0;
}

/** "data/My Set.jsonl" → "my-set" */
function slug(name: string): string {
  const stem = basename(name, extname(name));
  return (
    stem
      .toLowerCase()
      .replace(/[^\p{L}\p{N}]+/gu, "-")
      .replace(/^-+|-+$/g, "")
      .slice(0, 40) || "run"
  );
}

/** The run folder under `runs/` that was written last. @throws NotFoundError if there is none */
export async function latestRunFolder(): Promise<string> {
  const names = await readdir(RUNS).catch(() => []);
  const times = await Promise.all(names.map((name) => configTime(join(RUNS, name))));
  const latest = times.reduce((best, time, i) => (time > (times[best] ?? 0) ? i : best), 0);
  if (!((times[latest] ?? 0) > 0)) throw new NotFoundError(`there is no run to resume under ${RUNS}/`);
  return join(RUNS, names[latest] as string);
}

/** Modification time of the newest file of a run; 0 where it is not a run folder. */
async function configTime(folder: string): Promise<number> {
  const times = await Promise.all(
    ["run.json", "metrics.jsonl"].map((file) =>
      stat(join(folder, file)).then(
        (s) => s.mtimeMs,
        () => 0,
      ),
    ),
  );
  return times[0] === 0 ? 0 : Math.max(...times);
}

async function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (s) => s.isDirectory(),
    () => false,
  );
}

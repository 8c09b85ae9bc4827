import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rename, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { z } from "zod";
import { FormatError } from "../errors.ts";
import { writeFileAtomic } from "../formats/cache.ts";
import { openSafetensors } from "../formats/safetensors.ts";
import { writeSafetensors } from "../formats/safetensors-write.ts";
import type { TrainState } from "./engine.ts";

const STATE_FILE = "trainer_state.json";
const OPTIMIZER_FILE = "optimizer.safetensors";
const FOLDER = "checkpoints";
const NAME = /^step-(\d{7})$/;

/** What training needs to go on, beside parameters and moments: everything else follows from the step and the seed. */
export interface Progression {
  /** Updates done. */
  readonly step: number;
  /** Step and loss of the best evaluation so far. */
  readonly bestStep: number | null;
  readonly bestLoss: number | null;
  /** Evaluations since then. */
  readonly staleEvaluations: number;
  /** Held-out loss before training. */
  readonly lossBefore: number | null;
  /** Milliseconds of training before this process. */
  readonly elapsedMs: number;
}

/** A checkpoint on disk. */
export interface Checkpoint {
  readonly path: string;
  readonly progression: Progression;
  readonly state: TrainState;
}

const stateSchema = z.object({
  version: z.literal(1),
  step: z.int().min(0),
  bestStep: z.int().nullable(),
  bestLoss: z.number().nullable(),
  staleEvaluations: z.int(),
  lossBefore: z.number().nullable(),
  elapsedMs: z.number(),
  /** sha256 of every other file. */
  files: z.record(z.string(), z.string()),
});

function folderName(step: number): string {
  return `step-${String(step).padStart(7, "0")}`;
}

async function sha256(path: string): Promise<string> {
  return createHash("sha256")
    .update(await readFile(path))
    .digest("hex");
}

/** Writes a checkpoint: a folder that is there completely or not at all. `writeAdapter` puts the adapter's own files in. */
export async function saveCheckpoint(
  runFolder: string,
  progression: Progression,
  state: TrainState,
  writeAdapter: (folder: string) => Promise<void>,
): Promise<string> {
  const parent = join(runFolder, FOLDER);
  const path = join(parent, folderName(progression.step));
  const temporary = join(parent, `.${folderName(progression.step)}.${process.pid}.partial`);
  await rm(temporary, { recursive: true, force: true });
  await mkdir(temporary, { recursive: true });
  try {
    await writeAdapter(temporary);
    const vectors = (["theta", "m", "v"] as const).map((name) => ({
      name,
      shape: [state[name].length],
      data: state[name],
    }));
    await writeSafetensors(join(temporary, OPTIMIZER_FILE), vectors);
    const names = await readdir(temporary);
    const sums = await Promise.all(names.map(async (n) => [n, await sha256(join(temporary, n))] as const));
    const content = { version: 1, ...progression, files: Object.fromEntries(sums) };
    await writeFileAtomic(join(temporary, STATE_FILE), `${JSON.stringify(content, null, 2)}\n`);
    await rm(path, { recursive: true, force: true });
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    throw error;
  }
  return path;
}

async function stepsIn(runFolder: string): Promise<number[]> {
  const names = await readdir(join(runFolder, FOLDER)).catch(() => []);
  return names
    .flatMap((n) => NAME.exec(n)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => b - a);
}

/** Reads a checkpoint and verifies every file in it. @throws FormatError saying what is damaged */
export async function loadCheckpoint(path: string): Promise<Checkpoint> {
  const text = await readFile(join(path, STATE_FILE), "utf8").catch(() => {
    throw new FormatError(path, `${STATE_FILE} is missing`);
  });
  const parsed = stateSchema.safeParse(safeJson(text));
  if (!parsed.success) throw new FormatError(path, `${STATE_FILE} is damaged`);
  const { files, version: _version, ...progression } = parsed.data;
  for (const [name, expected] of Object.entries(files)) {
    const actual = await sha256(join(path, basename(name))).catch(() => null);
    if (actual !== expected)
      throw new FormatError(path, actual === null ? `${name} is missing` : `${name} is damaged`);
  }
  const file = await openSafetensors(join(path, OPTIMIZER_FILE));
  try {
    const read = async (name: string): Promise<Float32Array> => (await file.read(name)).data;
    const state = { theta: await read("theta"), m: await read("m"), v: await read("v") };
    return { path, progression, state };
  } finally {
    await file.close();
  }
}

function safeJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** The newest checkpoint that is whole; those after it that are not are named in `damaged`. */
export async function newestCheckpoint(
  runFolder: string,
): Promise<{ readonly checkpoint: Checkpoint | null; readonly damaged: readonly string[] }> {
  const damaged: string[] = [];
  for (const step of await stepsIn(runFolder)) {
    try {
      return { checkpoint: await loadCheckpoint(checkpointPath(runFolder, step)), damaged };
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      damaged.push(error.message);
    }
  }
  return { checkpoint: null, damaged };
}

/** Path of the checkpoint of a step. */
export function checkpointPath(runFolder: string, step: number): string {
  return join(runFolder, FOLDER, folderName(step));
}

/** Removes checkpoints but the newest `keep` and that of `bestStep`, and what a killed writer left. */
export async function pruneCheckpoints(
  runFolder: string,
  keep: number,
  bestStep: number | null,
): Promise<void> {
  const steps = await stepsIn(runFolder);
  for (const step of steps.slice(keep))
    if (step !== bestStep) await rm(checkpointPath(runFolder, step), { recursive: true, force: true });
  for (const name of await readdir(join(runFolder, FOLDER)).catch(() => []))
    if (name.endsWith(".partial")) await rm(join(runFolder, FOLDER, name), { recursive: true, force: true });
}

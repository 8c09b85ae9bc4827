import { createHash } from "node:crypto";
import { readdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { z } from "zod";
import { FormatError, LowrankError, NotFoundError } from "../errors.ts";
import { openSafetensors } from "../formats/safetensors/read.ts";
import { writeSafetensors } from "../formats/safetensors/write.ts";
import { readBytes, storing, syncFolder, writeFileAtomic } from "../io/disk.ts";
import { hashFile } from "../io/download.ts";
import { makeFolder } from "../io/folder.ts";
import type { TrainState } from "./step.ts";

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
  /** Step of the last evaluation between steps: an interrupt may come after a step and before its evaluation. */
  readonly evaluatedStep: number | null;
  /** Held-out loss before training. */
  readonly lossBefore: number | null;
  /** Milliseconds of training before this process. */
  readonly elapsedMs: number;
}

/** What a checkpoint holds. */
export interface CheckpointContent {
  readonly progression: Progression;
  readonly state: TrainState;
  readonly identity: RunIdentity;
}

/** A checkpoint on disk. */
export interface Checkpoint extends CheckpointContent {
  readonly path: string;
}

const stateSchema = z.strictObject({
  version: z.literal(1),
  step: z.int().min(0),
  bestStep: z.int().nullable(),
  bestLoss: z.number().nullable(),
  staleEvaluations: z.int(),
  evaluatedStep: z.int().nullable(),
  lossBefore: z.number().nullable(),
  elapsedMs: z.number(),
  identity: z.strictObject({ model: z.string(), data: z.string(), adapter: z.string() }),
  /** sha256 of every other file. */
  files: z.record(z.string(), z.string()),
  /** sha256 of the JSON of all of the above. */
  sha256: z.string(),
});

type StateFile = Omit<z.output<typeof stateSchema>, "sha256">;

function folderName(step: number): string {
  return `step-${String(step).padStart(7, "0")}`;
}

function sha256(content: string | Uint8Array): string {
  return createHash("sha256").update(content).digest("hex");
}

/** Writes a checkpoint: a folder that is there completely or not at all. `writeAdapter` puts the adapter's own files in.
 *  Returns its path. @throws LowrankError ("storage"), FormatError if the disk does not take it; nothing is changed then */
export async function saveCheckpoint(
  runFolder: string,
  content: CheckpointContent,
  writeAdapter: (folder: string) => Promise<void>,
): Promise<string> {
  const path = checkpointPath(runFolder, content.progression.step);
  const temporary = temporaryPath(path);
  await storing(path, async () => {
    await rm(temporary, { recursive: true, force: true });
    await makeFolder(temporary);
    try {
      await writeAdapter(temporary);
      await fill(temporary, content);
      await replace(path, temporary);
    } catch (error) {
      await rm(temporary, { recursive: true, force: true });
      throw error;
    }
  });
  return path;
}

function temporaryPath(path: string): string {
  return join(dirname(path), `.${basename(path)}.${process.pid}.partial`);
}

/** The files of a checkpoint beside the adapter's. */
async function fill(folder: string, { progression, state, identity }: CheckpointContent): Promise<void> {
  const shape = [state.theta.length];
  const vectors = Object.entries(state).map(([name, data]) => ({ name, shape, data }));
  await writeSafetensors(join(folder, OPTIMIZER_FILE), vectors);
  const sums: Record<string, string> = {};
  for (const name of await filesBelow(folder)) sums[name] = await hashFile(join(folder, name));
  const content: StateFile = { version: 1, ...progression, identity, files: sums };
  const signed = { ...content, sha256: sha256(JSON.stringify(content)) };
  await writeFileAtomic(join(folder, STATE_FILE), `${JSON.stringify(signed, null, 2)}\n`);
}

/** Paths of the files in a folder and in the folders in it (a combination's adapters), with "/" between names. */
async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  const paths = entries.map(async (e) => {
    if (!e.isDirectory()) return [e.name];
    return (await filesBelow(join(folder, e.name))).map((path) => `${e.name}/${path}`);
  });
  return (await Promise.all(paths)).flat();
}

/** Gives a finished folder its name. One that has it already is moved out of the way, which takes less time than deleting. */
async function replace(path: string, finished: string): Promise<void> {
  const old = `${finished.slice(0, -".partial".length)}.old.partial`;
  await rename(path, old).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw error;
  });
  await rename(finished, path);
  await syncFolder(dirname(path));
  await rm(old, { recursive: true, force: true });
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
  const { version: _version, files, identity, ...progression } = await readState(path);
  for (const [name, expected] of Object.entries({ [OPTIMIZER_FILE]: "", ...files })) {
    const leavesFolder = name.split(/[\\/]/).includes("..");
    const found = leavesFolder ? null : await hashFile(join(path, name)).catch(nullIfMissing);
    if (found === null) throw new FormatError(path, `${name} is missing`);
    if (found !== expected) throw new FormatError(path, `${name} is damaged`);
  }
  const file = await openSafetensors(join(path, OPTIMIZER_FILE));
  try {
    const read = async (name: string): Promise<Float32Array> => (await file.read(name)).data;
    const state: Record<string, Float32Array> & { theta: Float32Array } = { theta: await read("theta") };
    for (const name of file.entries.keys()) state[name] = await read(name);
    return { path, progression, identity, state };
  } finally {
    await file.close();
  }
}

function nullIfMissing(error: unknown): null {
  if (error instanceof NotFoundError) return null;
  throw error;
}

async function readState(path: string): Promise<StateFile> {
  const bytes = await readBytes(join(path, STATE_FILE)).catch((error) => {
    throw error instanceof NotFoundError ? new FormatError(path, `${STATE_FILE} is missing`) : error;
  });
  const parsed = stateSchema.safeParse(safeJson(new TextDecoder().decode(bytes)));
  if (!parsed.success) throw new FormatError(path, `${STATE_FILE} is damaged`);
  const { sha256: expected, ...content } = parsed.data;
  if (sha256(JSON.stringify(content)) !== expected || folderName(content.step) !== basename(path))
    throw new FormatError(path, `${STATE_FILE} is damaged`);
  return content;
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
      if (!(error instanceof LowrankError)) throw error;
      damaged.push(error.message);
    }
  }
  return { checkpoint: null, damaged };
}

/** Path of the checkpoint of a step. */
export function checkpointPath(runFolder: string, step: number): string {
  return join(runFolder, FOLDER, folderName(step));
}

/** Which checkpoints stay. */
export interface KeepOptions {
  /** The newest that is whole. Those after it are damaged. */
  readonly step: number;
  /** How many, counted back from there. */
  readonly keep: number;
  /** Kept however old. */
  readonly bestStep: number | null;
}

/** Removes every other checkpoint, and what a killed writer left. */
export async function pruneCheckpoints(runFolder: string, options: KeepOptions): Promise<void> {
  const { step, keep, bestStep } = options;
  const steps = await stepsIn(runFolder);
  const kept = new Set([...steps.filter((s) => s <= step).slice(0, keep), bestStep]);
  const old = steps.filter((s) => !kept.has(s)).map(folderName);
  const names = await readdir(join(runFolder, FOLDER)).catch(() => []);
  for (const name of [...old, ...names.filter((n) => n.endsWith(".partial"))])
    await rm(join(runFolder, FOLDER, name), { recursive: true, force: true });
}

/** Hashes of what a run's numbers follow from, beside its options: a run goes on only with the same. */
export interface RunIdentity {
  /** Names, sizes and times of the model's files, and its configuration. */
  readonly model: string;
  /** Every training example: tokens and which of them are labels. */
  readonly data: string;
  /** Names and shapes of what is trained. */
  readonly adapter: string;
}

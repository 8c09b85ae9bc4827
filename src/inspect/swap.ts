import { readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { InputError, type Problem, UnsupportedError } from "../errors.ts";
import { hfModuleName } from "../formats/names.ts";
import { DEFAULT_LORA_CONFIG } from "../formats/peft/config.ts";
import type { LoadedModel } from "../generate/loaded.ts";
import { loadModel } from "../generate/model.ts";
import { resolveAdapter } from "../hub/resolve.ts";
import { removeLeftovers, temporaryPath } from "../io/temporary.ts";
import type { BaseModel } from "../models/base.ts";
import type { OpenBaseOptions } from "../models/base-model.ts";
import { parameterTotal } from "../models/base-of.ts";
import { writeMethods } from "../peft/files/adapter.ts";
import { type Lora, lora } from "../peft/methods/lora.ts";
import { parameterCount } from "../peft/parameters.ts";
import type { AdapterChoice } from "../peft/use/adapter-choice.ts";
import type { DeviceChoice } from "../runtime/device.ts";
import { random } from "../tensor/random.ts";
import type { ProgressEvent } from "../train/events.ts";
import { withProgress } from "../train/progress.ts";

/** What to measure task switching on. */
export interface SwapOptions extends OpenBaseOptions, Pick<AdapterChoice, "adapters" | "anyBase"> {
  readonly model: string;
  /** Random adapters to make where none are given: LoRA on q and v. Default 100. */
  readonly count?: number;
  /** Their rank. Default 8. */
  readonly rank?: number;
  readonly device?: DeviceChoice;
  readonly threads?: number | null;
}

/** Several timings in milliseconds. */
export interface Timings {
  readonly medianMs: number;
  readonly minMs: number;
  readonly maxMs: number;
  readonly count: number;
}

/** Task switching, measured. Bytes are of float32 values. */
export interface SwapReport {
  readonly type: "result";
  readonly model: string;
  readonly adapters: number;
  readonly isRandom: boolean;
  /** Of one adapter, the mean. */
  readonly fileBytes: number;
  /** Of one adapter's parameters in this process, the mean. */
  readonly parameterBytes: number;
  /** From its files to memory, checked against the model. */
  readonly loading: Timings;
  /** The first adapter's use, which loads its graph. */
  readonly firstUseMs: number;
  /** From one adapter in memory to another of the same structure, until the next token can be asked for. */
  readonly swapping: Timings;
  /** From one merged adapter to another that is merged, and back to base and adapter apart; a text says why it cannot be. */
  readonly merging: { readonly merge: Timings; readonly unmerge: Timings } | string;
  /** Resident memory of this process, and its peak so far: model, runtime and everything else. */
  readonly residentBytes: { readonly base: number; readonly one: number; readonly all: number };
  readonly peakBytes: number;
  /** The model's weights. */
  readonly modelBytes: number;
  /** One base and the adapters' files; as many merged models. */
  readonly storageBytes: { readonly together: number; readonly merged: number };
}

/** What measuring says while it runs; the report comes last. */
export type SwapEvent =
  | ProgressEvent
  | { readonly type: "adapters"; readonly done: number; readonly total: number }
  | SwapReport;

const SWAPS = 30;
const MERGES = 3;

function checkCounts({ count = 100, rank = 8 }: SwapOptions): void {
  const problems: Problem[] = Object.entries({ count, rank })
    .filter(([, value]) => !Number.isInteger(value) || value < 1)
    .map(([where, value]) => ({ where, message: `expected a whole number from 1, got ${value}` }));
  if (problems.length > 0) throw new InputError("task switching cannot be measured so", problems);
}

/** Measures what the paper's §4.2 says of task switching: loads adapters on one base (given ones, or random ones that are
 *  written to a temporary folder and removed), switches between them unmerged and merged, and adds up memory and storage.
 *  @throws InputError, and as `loadModel` */
export async function* measureSwap(options: SwapOptions): AsyncGenerator<SwapEvent> {
  checkCounts(options);
  const { adapters: _later, ...base } = options;
  const model = yield* withProgress((onProgress) => loadModel({ ...base, onProgress }));
  try {
    await model.generateText({ prompt: "Hello", raw: true, maxTokens: 1 });
    yield* measure(model, options);
  } finally {
    await model.close();
  }
}

async function* measure(model: LoadedModel, options: SwapOptions): AsyncGenerator<SwapEvent> {
  const base = residentBytes();
  const given = Object.entries(options.adapters ?? {});
  const isRandom = given.length === 0;
  const total = isRandom ? (options.count ?? 100) : given.length;
  const make = isRandom ? randomAdapters(model.base, options.rank ?? 8) : null;
  const files: number[] = [];
  const loads: number[] = [];
  let [firstUseMs, one] = [0, base];
  for (let i = 0; i < total; i++) {
    const [name, path] = given[i] ?? [`adapter-${i + 1}`, null];
    const loaded = make ? await make(model, name) : await loadGiven(model, name, path as string);
    files.push(loaded.fileBytes);
    loads.push(loaded.elapsedMs);
    if (i === 0) {
      firstUseMs = await elapsedMs(() => model.set(name));
      await model.generateText({ prompt: "Hello", raw: true, maxTokens: 1 });
      one = residentBytes();
    }
    yield { type: "adapters", done: i + 1, total };
  }
  const all = residentBytes();
  const names = Object.keys(model.adapters);
  const swapping = timings(await swaps(model, names));
  const merging = await merges(model, names);
  const parameters = names.reduce((n, name) => n + (model.adapters[name]?.parameters ?? 0), 0);
  const fileBytes = mean(files);
  const modelBytes = 4 * parameterTotal(model.base.modules);
  yield {
    type: "result",
    model: model.base.source.name,
    adapters: total,
    isRandom,
    fileBytes,
    parameterBytes: (4 * parameters) / total,
    loading: timings(loads),
    firstUseMs,
    swapping,
    merging,
    residentBytes: { base, one, all },
    peakBytes: 1024 * process.resourceUsage().maxRSS,
    modelBytes,
    storageBytes: { together: modelBytes + total * fileBytes, merged: total * modelBytes },
  };
}

interface LoadedFiles {
  readonly fileBytes: number;
  readonly elapsedMs: number;
}

async function loadGiven(model: LoadedModel, name: string, path: string): Promise<LoadedFiles> {
  const ms = await elapsedMs(() => model.load(name, path));
  return { fileBytes: await sizeOnDisk(await resolveAdapter(path, { offline: true })), elapsedMs: ms };
}

/** Makes random adapters, loads each and removes its files: afterwards they are in memory only. */
function randomAdapters(
  base: BaseModel,
  rank: number,
): (model: LoadedModel, name: string) => Promise<LoadedFiles> {
  const adaptation = queryAndValue(base, rank);
  const count = parameterCount(adaptation.trainables);
  return async (model, name) => {
    const generator = random(0, name);
    const theta = Float32Array.from({ length: count }, () => 0.01 * (2 * generator.uniform() - 1));
    const folder = temporaryPath(join(tmpdir(), "lowrank-swap"));
    await removeLeftovers(tmpdir());
    try {
      await writeMethods(folder, [adaptation], theta, null);
      return await loadGiven(model, name, folder);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  };
}

function queryAndValue({ config, modules }: BaseModel, rank: number): Lora {
  const targetModules = modules
    .filter((m) => /\.attention\.(q|v|qkv)$/.test(m.path))
    .map((m) => hfModuleName(config.family, m.path));
  return lora({ ...DEFAULT_LORA_CONFIG, rank, alpha: rank, targetModules }, config.family, modules);
}

/** Bytes of the files in a folder and below, or of one file. */
async function sizeOnDisk(path: string): Promise<number> {
  const info = await stat(path);
  if (!info.isDirectory()) return info.size;
  const names = (await readdir(path)).filter((n) => !n.startsWith("."));
  const sizes = await Promise.all(names.map((n) => sizeOnDisk(join(path, n))));
  return sizes.reduce((a, b) => a + b, 0);
}

async function swaps(model: LoadedModel, names: readonly string[]): Promise<number[]> {
  const times: number[] = [];
  for (let i = 1; i <= SWAPS; i++)
    times.push(await elapsedMs(() => model.set(names[i % names.length] as string)));
  return times;
}

async function merges(model: LoadedModel, names: readonly string[]): Promise<SwapReport["merging"]> {
  const [merge, unmerge]: [number[], number[]] = [[], []];
  try {
    await model.merge();
    for (let i = 1; i <= MERGES; i++) {
      merge.push(
        await elapsedMs(async () => {
          await model.set(names[i % names.length] as string);
          await model.merge();
        }),
      );
      unmerge.push(await elapsedMs(() => model.unmerge()));
      await model.merge();
    }
  } catch (error) {
    if (error instanceof UnsupportedError) return error.message;
    throw error;
  }
  return { merge: timings(merge), unmerge: timings(unmerge) };
}

async function elapsedMs(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

/** Garbage aside, where the process may collect it (`node --expose-gc`). */
function residentBytes(): number {
  globalThis.gc?.();
  return process.memoryUsage().rss;
}

function mean(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0) / values.length;
}

function timings(values: readonly number[]): Timings {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number): number => sorted[Math.floor(share * (sorted.length - 1))] as number;
  return { medianMs: at(0.5), minMs: at(0), maxMs: at(1), count: values.length };
}

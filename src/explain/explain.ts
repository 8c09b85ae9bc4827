import { InputError } from "../errors.ts";
import type { BaseModel } from "../models/base.ts";
import { compareModules, type ModuleSimilarity, rightDirections } from "./compare.ts";
import {
  type AnalysedModule,
  analyseModule,
  KEPT_SHARE,
  type ModuleExplanation,
} from "./module-explanation.ts";
import { factorsAtStartOf } from "./start.ts";
import { leading, type SubspaceSimilarity, subspaceSimilarity } from "./subspace.ts";
import { byLayer, byMatrix, type GroupSummary, type RankAdvice, rankAdvice } from "./summary.ts";
import type { AdapterUpdates, UpdatesOptions, WithoutUpdate } from "./update.ts";
import { adapterUpdates } from "./updates.ts";

/** What to explain. */
export interface ExplainOptions extends UpdatesOptions {
  /** A second adapter of the same base, to compare with. */
  readonly other?: string;
  /** Leading directions of two adapters that are compared; default 8. */
  readonly directions?: number;
  /** Project W on its own directions too, which takes most of the time; default true. */
  readonly ownDirections?: boolean;
  /** Called after each module. */
  readonly onModule?: (done: number, total: number, path: string) => void;
}

/** An adapter's base, as far as it was used. */
export interface ExplainedBase {
  readonly name: string;
  /** Types in which the weights of the analysed modules are stored, and how many; W is their value as float32. */
  readonly storages: Readonly<Record<string, number>>;
}

/** What an adapter is, in numbers: the analysis of the LoRA paper's §7 with its controls. */
export interface Explanation {
  /** Folder or file. */
  readonly adapter: string;
  readonly methods: readonly string[];
  /** null: without its weights, so no ‖W‖ and no amplification. */
  readonly base: ExplainedBase | null;
  readonly modules: readonly ModuleExplanation[];
  readonly layers: readonly GroupSummary[];
  readonly matrices: readonly GroupSummary[];
  readonly total: GroupSummary;
  /** null where there is no rank to choose. */
  readonly ranks: RankAdvice | null;
  readonly withoutUpdate: readonly WithoutUpdate[];
  /** null without a second adapter. */
  readonly comparison: Comparison | null;
  readonly notes: readonly string[];
}

/** Two adapters beside each other. */
export interface Comparison {
  readonly other: string;
  readonly methods: readonly string[];
  /** Modules that both change. */
  readonly modules: readonly ModuleSimilarity[];
  /** φ of A's right directions at step 0 by module: both runs' noise; empty unless both adapters lie in their run folders. */
  readonly atStart: Readonly<Record<string, SubspaceSimilarity>>;
  readonly notes: readonly string[];
}

/** Analyses an adapter of any method and format as the LoRA paper's §7 does: per module singular values and effective rank of ΔW,
 *  ‖ΔW‖/‖W‖, amplification with its random control; which layers changed most; ranks that are not used; and with `other` how alike
 *  two adapters are (φ of §7.2, the cosine of their ΔW). Without the base, what the adapter alone says.
 *  @throws as `adapterUpdates`; InputError where two adapters have no module in common, or `directions` is no count */
export async function explainAdapter(adapter: string, options: ExplainOptions = {}): Promise<Explanation> {
  const { other, directions = 8 } = options;
  if (!Number.isInteger(directions) || directions < 1)
    throw new InputError("the adapter cannot be explained", [
      { where: "directions", message: `expected a whole number from 1, got ${directions}` },
    ]);
  const updates = await adapterUpdates(adapter, options);
  const second = other === undefined ? null : await openSecond(other, updates, options);
  try {
    checkCommon(updates, second);
    const progress = counter(options, updates.modules.length + (second ? common(updates, second).length : 0));
    const analysed = await analyse(updates, updates.base, options.ownDirections ?? true, progress);
    const comparison = second && (await compare(analysed, updates, second, directions, progress));
    return explanationOf(updates, analysed, comparison);
  } finally {
    await updates.close();
    await second?.close();
  }
}

/** On the base of the first. */
async function openSecond(
  other: string,
  { base }: AdapterUpdates,
  options: ExplainOptions,
): Promise<AdapterUpdates> {
  return adapterUpdates(other, { ...options, base: base !== null });
}

type Progress = (path: string) => void;

function counter({ onModule, signal }: ExplainOptions, total: number): Progress {
  let done = 0;
  return (path) => {
    signal?.throwIfAborted();
    done += 1;
    onModule?.(done, total, path);
  };
}

async function analyse(
  { modules }: Pick<AdapterUpdates, "modules">,
  base: BaseModel | null,
  own: boolean,
  progress: Progress,
): Promise<AnalysedModule[]> {
  const analysed: AnalysedModule[] = [];
  for (const update of modules) {
    analysed.push(await analyseModule(update, base, own));
    progress(update.path);
  }
  return analysed;
}

function common(x: AdapterUpdates, y: AdapterUpdates): AdapterUpdates["modules"] {
  const paths = new Set(x.modules.map((m) => m.path));
  return y.modules.filter((m) => paths.has(m.path));
}

function checkCommon(x: AdapterUpdates, y: AdapterUpdates | null): void {
  if (y === null) return;
  const own = new Map(x.modules.map((m) => [m.path, m]));
  const problems = common(x, y)
    .filter((m) => `${m.shape}` !== `${own.get(m.path)?.shape}`)
    .map((m) => ({
      where: m.path,
      message: `expected ΔW of one shape, got [${own.get(m.path)?.shape}] and [${m.shape}]`,
    }));
  if (common(x, y).length === 0)
    problems.push({ where: "modules", message: "the two adapters change no module in common" });
  if (problems.length > 0) throw new InputError("the adapters cannot be compared", problems);
}

async function compare(
  analysed: readonly AnalysedModule[],
  updates: AdapterUpdates,
  second: AdapterUpdates,
  directions: number,
  progress: Progress,
): Promise<Comparison> {
  const others = await analyse({ modules: common(updates, second) }, null, false, progress);
  const modules: ModuleSimilarity[] = [];
  for (const y of others) {
    const x = analysed.find((m) => m.explanation.path === y.explanation.path) as AnalysedModule;
    modules.push(await compareModules(x, y, directions));
  }
  const left = updates.modules.length + second.modules.length - 2 * modules.length;
  const atStart = await similarityAtStart(updates, second, directions);
  const notes = [
    ...second.notes,
    ...(left > 0 ? [`${left} modules are changed by one of the two only`] : []),
    ...(Object.keys(atStart).length > 0
      ? []
      : ["the noise that A started from is not shown: it is known of two run folders, beside their base"]),
  ];
  return { other: second.path, methods: second.methods, modules, atStart, notes };
}

/** φ of the noise that both runs started from. */
async function similarityAtStart(
  x: AdapterUpdates,
  y: AdapterUpdates,
  count: number,
): Promise<Record<string, SubspaceSimilarity>> {
  const [first, second] = [await factorsAtStartOf(x.path, x.base), await factorsAtStartOf(y.path, y.base)];
  if (first === null || second === null) return {};
  const both = [...first].flatMap(([path, { a }]) => {
    const b = second.get(path)?.a;
    if (b === undefined) return [];
    const similar = subspaceSimilarity(
      leading(rightDirections(a), count),
      leading(rightDirections(b), count),
    );
    return [[path, similar] as const];
  });
  return Object.fromEntries(both);
}

function explanationOf(
  { path, methods, base, withoutUpdate, notes }: AdapterUpdates,
  analysed: readonly AnalysedModule[],
  comparison: Comparison | null,
): Explanation {
  const modules = analysed.map((m) => m.explanation);
  const everything = byMatrix(modules.map((m) => ({ ...m, matrix: "all" })));
  return {
    adapter: path,
    methods,
    base: base && { name: base.source.name, storages: storagesOf(base, modules) },
    modules,
    layers: byLayer(modules),
    matrices: byMatrix(modules),
    total: everything[0] ?? NOTHING,
    ranks: rankAdvice(modules, KEPT_SHARE),
    withoutUpdate,
    comparison,
    notes,
  };
}

const NOTHING: GroupSummary = {
  ...{ name: "all", layer: null, modules: 0, deltaNorm: 0, weightNorm: null, share: 0, evenShare: 0 },
  ...{ meanEffectiveRank: null, meanRandomEffectiveRank: null, largestRank99: null },
  ...{ medianFactor: null, medianRandomFactor: null },
};

function storagesOf(
  { source, modules }: BaseModel,
  own: readonly ModuleExplanation[],
): Record<string, number> {
  const stored = new Map(source.weights.map((w) => [w.path, w.storage]));
  const tied = new Map(modules.map((m) => [m.path, m.kind === "linear" ? m.tiedTo : undefined]));
  const counts: Record<string, number> = {};
  for (const { path } of own) {
    const storage = stored.get(`${tied.get(path) ?? path}.weight`) ?? "new";
    counts[storage] = (counts[storage] ?? 0) + 1;
  }
  return counts;
}

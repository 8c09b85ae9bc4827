import type { ModuleExplanation } from "./module-explanation.ts";
import { keptBy } from "./spectrum.ts";

/** Several modules together. */
export interface GroupSummary {
  /** "layer 3", "attention.q". */
  readonly name: string;
  readonly layer: number | null;
  readonly modules: number;
  /** √Σ‖ΔW‖² */
  readonly deltaNorm: number;
  /** √Σ‖W‖²; null without the base. */
  readonly weightNorm: number | null;
  /** Share of Σ‖ΔW‖²_F over all modules. */
  readonly share: number;
  /** The same if every module's change were as large: the group's share of modules. */
  readonly evenShare: number;
  /** Means and medians over the modules that have it; null where none has. */
  readonly meanEffectiveRank: number | null;
  readonly meanRandomEffectiveRank: number | null;
  readonly largestRank99: number | null;
  readonly medianFactor: number | null;
  readonly medianRandomFactor: number | null;
}

/** What a smaller rank would keep. */
export interface RankChoice {
  readonly rank: number;
  /** Share of Σ‖ΔW‖²_F that is kept over all modules. */
  readonly kept: number;
  /** Of the module that loses most. */
  readonly worstKept: number;
}

/** Which ranks are not used. */
export interface RankAdvice {
  /** The largest rank of a module. */
  readonly rank: number;
  /** Modules that are B·A; the others have no rank to choose. */
  readonly modules: number;
  readonly choices: readonly RankChoice[];
  /** The smallest rank that keeps 99% of Σ‖ΔW‖²_F over all modules. */
  readonly suggested: number;
  /** The rank that random factors would need for the same. */
  readonly random: number;
  /** Mean over modules of the smallest rank that keeps 99% of each. */
  readonly meanRank99: number;
}

/** Modules by layer, in order; those outside of the layers by name. */
export function byLayer(modules: readonly ModuleExplanation[]): GroupSummary[] {
  return grouped(modules, (m) => (m.layer === null ? m.path : `layer ${m.layer}`));
}

/** Modules by what they are in their layer. */
export function byMatrix(modules: readonly ModuleExplanation[]): GroupSummary[] {
  return grouped(modules, (m) => m.matrix).map((g) => ({ ...g, layer: null }));
}

function grouped(
  modules: readonly ModuleExplanation[],
  nameOf: (m: ModuleExplanation) => string,
): GroupSummary[] {
  const groups = new Map<string, ModuleExplanation[]>();
  for (const m of modules) groups.set(nameOf(m), [...(groups.get(nameOf(m)) ?? []), m]);
  const total = squares(modules.map((m) => m.deltaNorm));
  return [...groups].map(([name, own]) => summaryOf(name, own, total, modules.length));
}

function summaryOf(
  name: string,
  own: readonly ModuleExplanation[],
  total: number,
  all: number,
): GroupSummary {
  const delta = squares(own.map((m) => m.deltaNorm));
  const weights = own.map((m) => m.weightNorm);
  return {
    name,
    layer: own[0]?.layer ?? null,
    modules: own.length,
    deltaNorm: Math.sqrt(delta),
    weightNorm: weights.every((w) => w !== null) ? Math.sqrt(squares(weights)) : null,
    share: total === 0 ? 0 : delta / total,
    evenShare: own.length / all,
    meanEffectiveRank: mean(present(own.map((m) => m.effectiveRank))),
    meanRandomEffectiveRank: mean(present(own.map((m) => m.randomEffectiveRank))),
    largestRank99: largest(own.map((m) => m.rank99)),
    medianFactor: median(present(own.map((m) => m.amplification?.factor ?? null))),
    medianRandomFactor: median(present(own.map((m) => m.amplification?.randomFactor ?? null))),
  };
}

/** What smaller ranks would keep. null where no module is B·A, or all of them are 0. */
export function rankAdvice(modules: readonly ModuleExplanation[], share: number): RankAdvice | null {
  const own = modules.filter((m) => m.rank !== null && m.deltaNorm > 0);
  const rank = Math.max(0, ...own.map((m) => m.rank as number));
  if (rank === 0) return null;
  const choices = Array.from({ length: rank }, (_, i) => choiceOf(i + 1, own));
  const enough = choices.find((c) => c.kept >= share - 1e-12);
  return {
    rank,
    modules: own.length,
    choices,
    suggested: enough?.rank ?? rank,
    random: Math.max(...own.map((m) => m.randomRank99 ?? 0)),
    meanRank99: mean(present(own.map((m) => m.rank99))) ?? 0,
  };
}

function choiceOf(rank: number, modules: readonly ModuleExplanation[]): RankChoice {
  const shares = modules.map((m) => keptBy(rank, m.singularValues, m.deltaNorm));
  const norms = modules.map((m) => m.deltaNorm ** 2);
  const total = norms.reduce((a, b) => a + b, 0);
  const kept = shares.reduce((sum, share, i) => sum + share * (norms[i] as number), 0) / total;
  return { rank, kept, worstKept: Math.min(...shares) };
}

/** Σ x² */
export function squares(values: readonly number[]): number {
  return values.reduce((sum, x) => sum + x * x, 0);
}

/** null for none. */
export function mean(values: readonly number[]): number | null {
  return values.length === 0 ? null : values.reduce((a, b) => a + b, 0) / values.length;
}

/** The lower of two middle ones; null for none. */
export function median(values: readonly number[]): number | null {
  return values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) / 2)] ?? null;
}

function largest(values: readonly (number | null)[]): number | null {
  return values.includes(null) || values.length === 0 ? null : Math.max(...present(values));
}

/** Those that are there. */
export function present<T>(values: readonly (T | null)[]): T[] {
  return values.filter((value) => value !== null);
}

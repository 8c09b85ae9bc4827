import { grid, type Html } from "../train/report/html.ts";
import type { Comparison } from "./explain.ts";
import { relativeChange } from "./findings.ts";
import type { ModuleExplanation } from "./module-explanation.ts";
import { digits, percent, withControl } from "./numbers.ts";
import type { SubspaceSimilarity } from "./subspace.ts";
import type { GroupSummary, RankAdvice } from "./summary.ts";

/** What smaller ranks would keep. */
export function rankTable({ choices, suggested, rank }: RankAdvice): Html {
  const rows = choices.map((c) => [
    String(c.rank),
    percent(c.kept),
    percent(c.worstKept),
    c.rank === suggested && suggested < rank ? "the smallest that keeps 99%" : "",
  ]);
  return grid(["Rank", "‖ΔW‖² kept, all modules", "of the module that loses most", ""], rows, "numbers");
}

/** Layers, or kinds of matrices. */
export function groupTable(groups: readonly GroupSummary[]): Html {
  const rows = groups.map((g) => [
    g.name,
    String(g.modules),
    digits(g.deltaNorm),
    percent(relativeChange(g)),
    withControl(g.share, g.evenShare, percent),
    withControl(g.meanEffectiveRank, g.meanRandomEffectiveRank),
    g.largestRank99 === null ? "–" : String(g.largestRank99),
    withControl(g.medianFactor, g.medianRandomFactor),
  ]);
  const head = [
    "",
    "Matrices",
    "‖ΔW‖",
    "‖ΔW‖/‖W‖",
    "Share of ‖ΔW‖² (even)",
    "Effective rank (random)",
    "Rank for 99%",
  ];
  return grid([...head, "Amplification (random)"], rows, "numbers");
}

const MANY_VALUES = 16;

/** Every number of every module. */
export function moduleTable(modules: readonly ModuleExplanation[]): Html {
  const rows = modules.map((m) => [
    m.path,
    m.shape.join(" × "),
    m.rank === null ? "–" : String(m.rank),
    digits(m.deltaNorm),
    percent(relativeChange(m)),
    withControl(m.effectiveRank, m.randomEffectiveRank),
    digits(m.stableRank),
    withControl(m.rank99, m.randomRank99, String),
    digits(m.amplification?.fromUpdate ?? null),
    digits(m.amplification?.fromWeight ?? null),
    digits(m.amplification?.fromRandom ?? null),
    withControl(m.amplification?.factor ?? null, m.amplification?.randomFactor ?? null),
    singularText(m),
  ]);
  const head = [
    "Module",
    "ΔW",
    "Rank",
    "‖ΔW‖",
    "‖ΔW‖/‖W‖",
    "Effective rank (random)",
    "Stable rank",
    "99% (random)",
  ];
  const projections = ["‖UᵀWV‖ of ΔW", "of W", "random", "Amplification (random)", "Singular values of ΔW"];
  return grid([...head, ...projections], rows, "numbers");
}

function singularText({ singularValues: s, isComplete }: ModuleExplanation): string {
  const more = s.length > MANY_VALUES || !isComplete ? " …" : "";
  return `${s.slice(0, MANY_VALUES).map(digits).join(" ")}${more}`;
}

/** Two adapters, module by module. */
export function similarityTable({ modules }: Comparison): Html {
  const first = (s: SubspaceSimilarity | null): string => {
    const phi = s?.phi[0]?.[0];
    return s === null || phi === undefined ? "–" : withControl(phi, 1 / s.dimension);
  };
  const rows = modules.map((m) => [
    m.path,
    withControl(m.cosine, m.randomCosine),
    first(m.right),
    first(m.left),
    first(m.a),
  ]);
  return grid(["Module", "Cosine (±)", "φ(1,1) inputs (random)", "outputs", "A"], rows, "numbers");
}

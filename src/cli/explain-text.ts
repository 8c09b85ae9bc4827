import type { Comparison, Explanation } from "../explain/explain.ts";
import { commonCount, findings, meanPhi, mostChanged, relativeChange } from "../explain/findings.ts";
import { digits, percent, twoDigits, withControl } from "../explain/numbers.ts";
import type { SubspaceSimilarity } from "../explain/subspace.ts";
import { type GroupSummary, mean, present, type RankAdvice } from "../explain/summary.ts";
import type { ShrunkAdapter } from "../peft/combine/shrink.ts";
import { formatInteger } from "./display/format.ts";
import { labelled, table } from "./display/text.ts";

const SHOWN_LAYERS = 5;
const SHOWN_MODULES = 5;

/** An explanation for a terminal. */
export function textOf(explanation: Explanation, columns: number): string {
  const { matrices, layers, ranks, comparison } = explanation;
  const lines = labelled(headRows(explanation), columns);
  const section = (rows: readonly string[]): void => {
    if (rows.length > 0) lines.push("", ...rows);
  };
  if (matrices.length > 0) {
    section(groupTable("Matrix", matrices));
    section(groupTable(layerHeading(layers), mostChanged(layers, SHOWN_LAYERS)));
  }
  if (ranks) section(rankTable(ranks));
  if (comparison) section(comparisonTable(comparison));
  section(
    labelled(
      findings(explanation).map((f): [string, string] => [f.topic, f.text]),
      columns,
    ),
  );
  return `${lines.join("\n")}\n`;
}

function headRows({
  adapter,
  methods,
  base,
  total,
  ranks,
  withoutUpdate,
  comparison,
}: Explanation): [string, string][] {
  const rank = ranks ? `, rank ${ranks.rank}` : "";
  const stored = Object.entries(base?.storages ?? {}).map(([type, count]) => `${count} × ${type}`);
  return [
    ["Adapter", `${adapter}: ${methods.join(" + ")}${rank}, ${formatInteger(total.modules)} matrices`],
    ...(comparison
      ? [["And", `${comparison.other}: ${comparison.methods.join(" + ")}`] as [string, string]]
      : []),
    ["Base", base ? `${base.name}, stored as ${stored.join(", ")}; W is their value` : "without its weights"],
    ...withoutUpdate.map((w): [string, string] => [
      "No ΔW",
      `${w.method}, ${formatInteger(w.parameters)} parameters: ${w.reason}`,
    ]),
  ];
}

function layerHeading(layers: readonly GroupSummary[]): string {
  return layers.length > SHOWN_LAYERS ? `Of ${layers.length} layers` : "Layers";
}

/** A line for each group; columns that nobody fills are left out. Controls in brackets. */
function groupTable(name: string, groups: readonly GroupSummary[]): string[] {
  const all: readonly (readonly [string, (g: GroupSummary) => string])[] = [
    [name, (g) => g.name],
    ["‖ΔW‖/‖W‖", (g) => percent(relativeChange(g))],
    ["‖ΔW‖", (g) => (g.weightNorm === null ? digits(g.deltaNorm) : "–")],
    ["‖ΔW‖² (even)", (g) => withControl(g.share, g.evenShare, percent)],
    ["Rank (random)", (g) => withControl(g.meanEffectiveRank, g.meanRandomEffectiveRank)],
    ["99%", (g) => (g.largestRank99 === null ? "–" : String(g.largestRank99))],
    ["Factor (random)", (g) => withControl(g.medianFactor, g.medianRandomFactor)],
  ];
  const filled = all.filter(([, of]) => groups.some((g) => of(g) !== "–"));
  const rows = groups.map((g) => filled.map(([, of]) => of(g)));
  return table([filled.map(([heading]) => heading), ...rows], filled.map((_, i) => i).slice(1));
}

/** Powers of two, the suggested rank and the whole. */
function rankTable({ choices, suggested, rank }: RankAdvice): string[] {
  const shown = choices.filter(
    (c) => Number.isInteger(Math.log2(c.rank)) || c.rank === suggested || c.rank === rank,
  );
  const rows = shown.map((c) => [
    String(c.rank),
    percent(c.kept),
    percent(c.worstKept),
    c.rank === suggested && suggested < rank ? "suggested: the smallest that keeps 99%" : "",
  ]);
  return table([["Rank", "‖ΔW‖² kept", "worst module", ""], ...rows], [0, 1, 2]);
}

/** Means over the modules of a kind. A's control is the noise that it started from, where that is known. */
function comparisonTable({ modules, atStart }: Comparison): string[] {
  const k = commonCount(modules);
  const isKnown = Object.keys(atStart).length > 0;
  const phi = (similarities: readonly (SubspaceSimilarity | null)[], control?: number): string => {
    const found = meanPhi(similarities, k);
    return found === null ? "–" : withControl(found.phi, control ?? found.random, twoDigits);
  };
  const rows = [...new Set(modules.map((m) => m.matrix))].map((kind) => {
    const own = modules.filter((m) => m.matrix === kind);
    const cosine = mean(present(own.map((m) => m.cosine)));
    const start = meanPhi(
      own.map((m) => atStart[m.path] ?? null),
      k,
    );
    return [
      kind,
      withControl(cosine, mean(own.map((m) => m.randomCosine)), twoDigits),
      phi(own.map((m) => m.right)),
      phi(own.map((m) => m.left)),
      phi(
        own.map((m) => m.a),
        start?.phi,
      ),
    ];
  });
  const head = [`Matrix, φ(${k},${k})`, "Cosine (±)", "Inputs (random)", "Outputs (random)"];
  return table([[...head, isKnown ? "A (step 0)" : "A (random)"], ...rows], [1, 2, 3, 4]);
}

/** What shrinking did. */
export function shrunkText({ modules, relativeError }: ShrunkAdapter, output: string): string {
  const smaller = modules.filter((m) => m.rank < m.before);
  const kept = modules.length - smaller.length;
  const worst = smaller.toSorted((a, b) => b.relativeError - a.relativeError).slice(0, SHOWN_MODULES);
  const rows = worst.map((m) => [
    m.name,
    `${m.before} → ${m.rank}`,
    percent(m.relativeError),
    digits(m.deltaNorm),
  ]);
  const same = kept > 0 ? `, ${kept} as they were` : "";
  return [
    `${smaller.length} modules in fewer ranks${same}: ${output}`,
    `‖ΔW − ΔW'‖ / ‖ΔW‖ = ${percent(relativeError)} over all modules; ${percent(1 - relativeError ** 2)} of ‖ΔW‖² is kept`,
    "",
    ...table([["Loses most", "Rank", "Error", "‖ΔW‖"], ...rows], [1, 2, 3]),
    "",
  ].join("\n");
}

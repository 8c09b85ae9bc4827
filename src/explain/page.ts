import { writeFileAtomic } from "../io/disk.ts";
import { shownName } from "../peft/files/card.ts";
import { definitions, grid, type Html, html, page, trusted } from "../train/report/html.ts";
import type { Comparison, Explanation } from "./explain.ts";
import { findings, relativeChange } from "./findings.ts";
import type { HeatMap } from "./heat-map.ts";
import type { ModuleExplanation } from "./module-explanation.ts";
import { digits, hundredths, percent, withControl } from "./numbers.ts";
import type { SubspaceSimilarity } from "./subspace.ts";
import { type GroupSummary, mean, present, type RankAdvice } from "./summary.ts";

/** Writes an explanation as a page, whole or not at all. @throws LowrankError ("storage") if the disk does not take it */
export async function writeExplanation(path: string, explanation: Explanation): Promise<void> {
  await writeFileAtomic(path, await explanationPage(explanation));
}

/** A heat map as an SVG, as on the page of an explanation. */
export async function heatMap(map: HeatMap): Promise<string> {
  const { drawHeatMap } = await import("./heat-map.ts"); // half of all modules of the library, for drawings
  return drawHeatMap(map);
}

/** An explanation as one page that asks nothing of the network: every number, with heat maps by layer and matrix. What came from
 *  files is escaped. */
export async function explanationPage(explanation: Explanation): Promise<string> {
  const { adapter, modules, ranks, comparison } = explanation;
  const name = await shownName(adapter);
  const title = comparison ? `${name} and ${await shownName(comparison.other)}` : name;
  return page(title, [
    tiles(explanation),
    html`<h2>What it means</h2><div class="card">${definitions(findings(explanation).map((f) => [f.topic, f.text]))}</div>`,
    ...(modules.length > 0 ? [await layerMaps(explanation)] : []),
    ...(comparison ? [await similarityMaps(comparison)] : []),
    ...(ranks ? [section("Ranks", rankTable(ranks))] : []),
    section("By matrix", groupTable(explanation.matrices)),
    section("By layer", groupTable(explanation.layers)),
    section("Every module", moduleTable(modules)),
    ...(comparison ? [section("Every module of both", similarityTable(comparison))] : []),
    section("About", about(explanation)),
  ]);
}

function section(title: string, body: Html): Html {
  return html`<h2>${title}</h2><div class="card">${body}</div>`;
}

function tiles({ total, ranks, comparison }: Explanation): Html {
  const facts: [string, string][] = [
    [`matrices changed`, String(total.modules)],
    total.weightNorm === null
      ? ["‖ΔW‖", digits(total.deltaNorm)]
      : ["‖ΔW‖ / ‖W‖", percent(relativeChange(total))],
    ...(total.meanEffectiveRank === null
      ? []
      : [
          [
            "effective rank (random factors)",
            withControl(total.meanEffectiveRank, total.meanRandomEffectiveRank),
          ] as [string, string],
        ]),
    ...(ranks
      ? [[`of rank ${ranks.rank} keeps 99% of ‖ΔW‖²`, String(ranks.suggested)] as [string, string]]
      : []),
    ...(comparison
      ? [
          ["cosine of the two ΔW", digits(mean(present(comparison.modules.map((m) => m.cosine))))] as [
            string,
            string,
          ],
        ]
      : []),
  ];
  return html`<div class="tiles">${facts.map(([label, value]) => html`<div class="tile"><b>${value}</b><span>${label}</span></div>`)}</div>`;
}

type ByModule<M> = (module: M) => number | null;

interface Placed {
  readonly path: string;
  readonly layer: number | null;
  readonly matrix: string;
}

/** Numbers by layer and matrix; modules outside of the layers by name, in a row of their own. */
function layerMap<M extends Placed>(
  modules: readonly M[],
  numberOf: ByModule<M>,
): Pick<HeatMap, "rows" | "columns" | "values" | "rowName"> {
  const rowOf = (m: Placed): string => (m.layer === null ? "–" : String(m.layer));
  const rows = [...new Set(modules.map(rowOf))];
  const columns = [...new Set(modules.map((m) => m.matrix))];
  const cells = new Map(modules.map((m) => [`${rowOf(m)} ${m.matrix}`, numberOf(m)]));
  return {
    rows,
    columns,
    rowName: "layer",
    values: rows.map((r) => columns.map((c) => cells.get(`${r} ${c}`) ?? null)),
  };
}

async function drawn(title: string, map: HeatMap, note: string): Promise<Html> {
  return html`<div class="card"><h3>${title}</h3>${trusted(await heatMap(map))}<p class="note">${note}</p></div>`;
}

async function layerMaps({ modules, base }: Explanation): Promise<Html> {
  const ratio: ByModule<ModuleExplanation> = ({ amplification: a }) =>
    a && a.fromRandom > 0 ? a.fromUpdate / a.fromRandom : null;
  const maps = [
    base
      ? await drawn(
          "‖ΔW‖ / ‖W‖",
          { ...layerMap(modules, relativeChange), show: percent },
          "How much each matrix changed.",
        )
      : await drawn(
          "‖ΔW‖",
          layerMap(modules, (m) => m.deltaNorm),
          "How much each matrix changed, without the base.",
        ),
    await drawn(
      "Rank that keeps 99% of ‖ΔW‖²",
      { ...layerMap(modules, (m) => m.rank99), show: String },
      `Random factors need ${digits(mean(present(modules.map((m) => m.randomRank99))))} on average.`,
    ),
    ...(modules.some((m) => ratio(m) !== null)
      ? [
          await drawn(
            "How W acts on ΔW's directions",
            layerMap(modules, ratio),
            "‖UᵀWV‖ with U, V of ΔW, as a multiple of that with random U, V: 1 is chance.",
          ),
        ]
      : []),
  ];
  return html`<h2>By layer and matrix</h2><div class="maps">${maps}</div>`;
}

/** φ(i, j), the mean over modules. */
function meanSimilarity(all: readonly SubspaceSimilarity[]): HeatMap {
  const [n, m] = [
    Math.min(...all.map((s) => s.phi.length)),
    Math.min(...all.map((s) => s.phi[0]?.length ?? 0)),
  ];
  const count = (length: number): string[] => Array.from({ length }, (_, i) => String(i + 1));
  const values = count(n).map((_, i) => count(m).map((_, j) => mean(all.map((s) => s.phi[i]?.[j] ?? 0))));
  return {
    rows: count(n),
    columns: count(m),
    values,
    range: [0, 1],
    rowName: "i",
    columnName: "j",
    show: hundredths,
  };
}

async function similarityMaps({ modules, atStart }: Comparison): Promise<Html> {
  const sides: readonly (readonly [string, readonly (SubspaceSimilarity | null)[]])[] = [
    ["φ(i, j) of ΔW's directions in the inputs", modules.map((m) => m.right)],
    ["φ(i, j) of ΔW's directions in the outputs", modules.map((m) => m.left)],
    ["φ(i, j) of A", modules.map((m) => m.a)],
    ["φ(i, j) of A at step 0", Object.values(atStart)],
  ];
  const maps: Html[] = [];
  for (const [title, similarities] of sides) {
    const all = present(similarities);
    if (all.length === 0) continue;
    const map = meanSimilarity(all);
    if (map.rows.length === 0) continue;
    maps.push(
      await drawn(title, map, `Mean over ${all.length} modules. Random subspaces: ${randomText(all, map)}.`),
    );
  }
  maps.push(
    await drawn(
      "Cosine of the two ΔW",
      { ...layerMap(modules, (m) => m.cosine), range: cosineRange(modules.map((m) => m.cosine)) },
      `Unrelated updates: 0 ± ${digits(mean(modules.map((m) => m.randomCosine)))}.`,
    ),
  );
  return html`<h2>How alike the two are</h2><div class="maps">${maps}</div>`;
}

function randomText(all: readonly SubspaceSimilarity[], { rows }: HeatMap): string {
  const at = (k: number): string => digits(mean(all.map((s) => k / s.dimension)));
  return `max(i, j)/d, from ${at(1)} to ${at(rows.length)}`;
}

function cosineRange(cosines: readonly (number | null)[]): readonly [number, number] {
  const all = present(cosines);
  return [Math.min(0, ...all), Math.max(0.01, ...all)];
}

function rankTable({ choices, suggested, rank }: RankAdvice): Html {
  const rows = choices.map((c) => [
    String(c.rank),
    percent(c.kept),
    percent(c.worstKept),
    c.rank === suggested && suggested < rank ? "the smallest that keeps 99%" : "",
  ]);
  return grid(["Rank", "‖ΔW‖² kept, all modules", "of the module that loses most", ""], rows, "numbers");
}

function groupTable(groups: readonly GroupSummary[]): Html {
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

function moduleTable(modules: readonly ModuleExplanation[]): Html {
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

function similarityTable({ modules }: Comparison): Html {
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

function about({ adapter, methods, base, withoutUpdate, notes, comparison }: Explanation): Html {
  const stored = Object.entries(base?.storages ?? {}).map(([type, count]) => `${count} × ${type}`);
  return definitions([
    ["Adapter", `${adapter}: ${methods.join(" + ")}`],
    ...(comparison
      ? [["And", `${comparison.other}: ${comparison.methods.join(" + ")}`] as [string, string]]
      : []),
    [
      "Base",
      base
        ? `${base.name}, its weights stored as ${stored.join(", ")}; W is their value as float32`
        : "without its weights",
    ],
    ...withoutUpdate.map((w): [string, string] => [
      `${w.method}: no ΔW`,
      `${w.parameters} parameters: ${w.reason}`,
    ]),
    [
      "ΔW",
      "s·B·A from the factors, exact; where the update is no product, what merging adds to W, with its leading 16 singular values.",
    ],
    [
      "Effective rank",
      "exp of the entropy of the singular values as shares of their sum (Roy & Vetterli 2007).",
    ],
    [
      "φ(i, j)",
      "‖Uᵢᵀ·Vⱼ‖²/min(i, j) of leading singular directions (LoRA §7.2); random subspaces of R^d have max(i, j)/d.",
    ],
    [
      "Amplification",
      "‖ΔW‖/‖UᵀWV‖ with U, V the singular directions of ΔW (LoRA §7.3); random: ‖ΔW‖/(‖W‖·r/√(out·in)).",
    ],
    ...[...notes, ...(comparison?.notes ?? [])].map((note): [string, string] => ["Note", note]),
  ]);
}

import { type Html, html, trusted } from "../train/report/html.ts";
import type { Comparison, Explanation } from "./explain.ts";
import { relativeChange } from "./findings.ts";
import type { HeatMap } from "./heat-map.ts";
import type { ModuleExplanation } from "./module-explanation.ts";
import { digits, hundredths, percent } from "./numbers.ts";
import type { SubspaceSimilarity } from "./subspace.ts";
import { mean, present } from "./summary.ts";

/** A heat map as an SVG, as on the page of an explanation. */
export async function heatMap(map: HeatMap): Promise<string> {
  const { drawHeatMap } = await import("./heat-map.ts"); // half of all modules of the library, for drawings
  return drawHeatMap(map);
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

/** Short numbers for the cells: multiples of a power of ten, which the title names. */
function unitOf(values: readonly (number | null)[]): {
  readonly unit: number;
  readonly show: (value: number) => string;
} {
  const most = Math.max(0, ...present(values));
  const unit = most > 0 ? 10 ** Math.floor(Math.log10(most)) : 1;
  return { unit, show: (value) => (value / unit).toFixed(1) };
}

async function changeMap({ modules, base }: Explanation): Promise<Html> {
  const map = layerMap(modules, base ? relativeChange : (m) => m.deltaNorm);
  const { unit, show } = unitOf(map.values.flat());
  const title = base ? `‖ΔW‖ / ‖W‖ in units of ${percent(unit)}` : `‖ΔW‖ in units of ${unit}`;
  return drawn(
    title,
    { ...map, show },
    base ? "How much each matrix changed." : "How much each matrix changed, without the base.",
  );
}

function randomRankText(modules: readonly ModuleExplanation[]): string {
  const random = mean(present(modules.map((m) => m.randomRank99)));
  return random === null ? "" : `Random factors need ${digits(random)} on average.`;
}

/** What each module is, by layer and matrix. */
export async function layerMaps(explanation: Explanation): Promise<Html> {
  const { modules } = explanation;
  const ratio: ByModule<ModuleExplanation> = ({ amplification: a }) =>
    a && a.fromRandom > 0 ? a.fromUpdate / a.fromRandom : null;
  const maps = [await changeMap(explanation)];
  if (modules.some((m) => m.rank99 !== null))
    maps.push(
      await drawn(
        "Rank that keeps 99% of ‖ΔW‖²",
        { ...layerMap(modules, (m) => m.rank99), show: String },
        randomRankText(modules),
      ),
    );
  if (modules.some((m) => ratio(m) !== null))
    maps.push(
      await drawn(
        "How W acts on ΔW's directions",
        { ...layerMap(modules, ratio), show: hundredths },
        "‖UᵀWV‖ with U, V of ΔW, as a multiple of that with random U, V: 1 is chance.",
      ),
    );
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

/** How alike two adapters are. */
export async function similarityMaps({ modules, atStart }: Comparison): Promise<Html> {
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
      {
        ...layerMap(modules, (m) => m.cosine),
        range: cosineRange(modules.map((m) => m.cosine)),
        show: hundredths,
      },
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

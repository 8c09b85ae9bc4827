import type { TrainOptions } from "lowrank";
import type { PaperResults } from "../run.ts";
import { escapeHtml } from "./html.ts";

/** Sizes of the linear layers of a model, by kind of matrix. */
export interface MatrixSize {
  /** Hugging Face's name, `q_proj`. */
  readonly name: string;
  readonly inSize: number;
  readonly outSize: number;
  readonly count: number;
}

/** A measured cell that the sliders can show. */
interface NearCell {
  readonly rank: number;
  readonly modules: readonly string[];
  readonly loss: number;
}

function nearCells({ cells }: PaperResults): NearCell[] {
  const runs = new Map(
    cells.map(({ address, key }) => [address, (key as { options?: TrainOptions }).options] as const),
  );
  return cells.flatMap(({ key, result }) => {
    const { kind, on, run } = key as { kind: string; on?: string; run?: string };
    const options = runs.get(run ?? "");
    const loss = (result as { loss?: number } | null)?.loss;
    if (kind !== "loss" || on !== "test" || options?.method !== "lora" || typeof loss !== "number") return [];
    const modules = Array.isArray(options.targetModules) ? (options.targetModules as string[]) : [];
    return [{ rank: options.rank ?? 0, modules, loss }];
  });
}

/** Rank and matrices to choose, with |Θ|, bytes and the measured loss of the nearest cell. */
export function sliders(sizes: readonly MatrixSize[], results: PaperResults): string {
  const boxes = sizes
    .map(
      ({ name }) =>
        `<label style="display:inline-block;margin-right:14px"><input type="checkbox" name="m" value="${escapeHtml(name)}"${["q_proj", "v_proj"].includes(name) ? " checked" : ""}> ${escapeHtml(name)}</label>`,
    )
    .join("");
  const data = JSON.stringify({ sizes, cells: nearCells(results) }).replaceAll("<", "\\u003c");
  return `<div class="sliders" id="sliders"><label>rank r = <output id="r">8</output><br><input type="range" id="rank" min="0" max="7" value="3" aria-label="rank"></label>
<div>${boxes}</div><p>|Θ| = <output id="theta"></output> numbers, <output id="bytes"></output> in float32; <span id="near"></span></p></div>
<script type="application/json" id="numbers">${data}</script>
<script>${SCRIPT}</script>`;
}

const SCRIPT = `
(() => {
  const { sizes, cells } = JSON.parse(document.getElementById("numbers").textContent);
  const el = (id) => document.getElementById(id);
  const show = () => {
    const rank = 2 ** Number(el("rank").value);
    const chosen = [...document.querySelectorAll("#sliders input[name=m]:checked")].map((b) => b.value);
    const theta = sizes.filter((s) => chosen.includes(s.name)).reduce((n, s) => n + s.count * rank * (s.inSize + s.outSize), 0);
    el("r").textContent = rank;
    el("theta").textContent = theta.toLocaleString("en");
    el("bytes").textContent = theta * 4 < 1e6 ? (theta * 4 / 1e3).toFixed(0) + " kB" : (theta * 4 / 1e6).toFixed(1) + " MB";
    const distance = (c) => 10 * (chosen.filter((m) => !c.modules.includes(m)).length + c.modules.filter((m) => !chosen.includes(m)).length) + Math.abs(Math.log2(c.rank / rank));
    const near = cells.toSorted((a, b) => distance(a) - distance(b))[0];
    const same = near ? cells.filter((c) => distance(c) === distance(near) && c.rank === near.rank) : [];
    const mean = same.reduce((n, c) => n + c.loss, 0) / same.length;
    el("near").textContent = near ? "nearest measured: rank " + near.rank + " on " + near.modules.join(", ") + ", test loss " + mean.toFixed(3) : "nothing was measured near it";
  };
  el("sliders").addEventListener("input", show);
  show();
})();`;

import { writeFileAtomic } from "../io/disk.ts";
import { shownName } from "../peft/files/card.ts";
import { definitions, type Html, html, page } from "../train/report/html.ts";
import type { Explanation } from "./explain.ts";
import { baseText, findings, relativeChange } from "./findings.ts";
import { digits, percent, withControl } from "./numbers.ts";
import { layerMaps, similarityMaps } from "./page-maps.ts";
import { groupTable, moduleTable, rankTable, similarityTable } from "./page-tables.ts";
import { mean, present } from "./summary.ts";

/** Writes an explanation as a page, whole or not at all. @throws LowrankError ("storage") if the disk does not take it */
export async function writeExplanation(path: string, explanation: Explanation): Promise<void> {
  await writeFileAtomic(path, await explanationPage(explanation));
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

function about({ adapter, methods, base, withoutUpdate, notes, comparison }: Explanation): Html {
  return definitions([
    ["Adapter", `${adapter}: ${methods.join(" + ")}`],
    ...(comparison
      ? [["And", `${comparison.other}: ${comparison.methods.join(" + ")}`] as [string, string]]
      : []),
    ["Base", baseText(base)],
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

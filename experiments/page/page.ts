import { type HeatMap, heatMap, type ModuleSpec, openBase } from "lowrank";
import type { Claim, Figure, Heat, Table } from "../experiment.ts";
import type { Measured, PaperResults } from "../run.ts";
import { drawFigure } from "./charts.ts";
import { layerDrawing, updateDrawing } from "./drawings.ts";
import { escapeHtml, numberText } from "./html.ts";
import { type MatrixSize, sliders } from "./sliders.ts";
import { STYLE } from "./style.ts";

/** More rows than these are folded away. */
const FOLDED_ROWS = 30;

/** The page: self-contained, nothing is asked of the network. */
export async function paperPage(results: PaperResults): Promise<string> {
  const { size, model, measured, environment: env, date, tasks } = results;
  const sections: string[] = [];
  for (const one of measured) sections.push(await section(one));
  const claims = measured.flatMap(({ experiment, findings }) =>
    findings.claims.map((claim) => ({ experiment, claim })),
  );
  const count = (verdict: Claim["verdict"]): number =>
    claims.filter((c) => c.claim.verdict === verdict).length;
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:">
<title>The LoRA paper, measured</title><style>${STYLE}</style></head><body><main>
<h1>The LoRA paper, measured</h1>
<p>Hu et al., <i>LoRA: Low-Rank Adaptation of Large Language Models</i> (2021), repeated in small: on <b>${escapeHtml(model)}</b> with ${tasks.map((t) => escapeHtml(t.summary)).join("; ")}.</p>
<p class="soft">Size: ${size.name} (${escapeHtml(size.summary)}). Seeds: ${size.seeds.join(", ")}. ${size.examples} training examples a cell, ${size.lossRows} rows for losses, ${size.answerRows} for answers. Measured ${date} on ${escapeHtml(env.cpu)}, ${env.cores} cores; lowrank ${escapeHtml(env.lowrank)}, Node ${escapeHtml(env.node)}.</p>
<p>Of ${claims.length} claims, <b>${count("held")} held</b> here, <b>${count("did not hold")} did not</b>, and of ${count("cannot be told")} it <b>cannot be told</b>. Each test was stated before anything was measured.${size.seeds.length === 1 ? " With one seed, differences of losses cannot be told from noise: a larger size can." : ""}</p>
${results.missing.length === 0 ? "" : `<p><b>Not measured yet:</b> ${results.missing.map(escapeHtml).join("; ")}.</p>`}
<div class="wide"><table><tr><th>claim</th><th>here</th></tr>${claims.map(({ experiment, claim }) => `<tr><td><a href="#${experiment.name}">${escapeHtml(claim.text)}</a></td><td>${claim.verdict}</td></tr>`).join("")}</table></div>
${await idea(results)}
<h2>What was measured</h2>
<nav>${measured.map(({ experiment: e }) => `<div><a href="#${e.name}">${escapeHtml(e.title)}</a></div>`).join("")}</nav>
${sections.join("\n")}
<h2>How to repeat it</h2>
<p><code>lowrank paper${size.name === "default" ? "" : ` --${size.name}`}</code> measures what is missing and writes this page; finished cells are kept. Every cell with its options, seed and numbers is in <code>results.json</code>, every table in a CSV file beside it.</p>
</main></body></html>
`;
}

async function idea(results: PaperResults): Promise<string> {
  const base = await openBase(results.model, { offline: true });
  const linear = base.modules.filter(
    (m): m is Extract<ModuleSpec, { kind: "linear" }> => m.kind === "linear" && !m.isOutput,
  );
  const kinds = new Map<string, MatrixSize>();
  for (const { path, inSize, outSize } of linear) {
    const name = `${path.split(".").at(-1)}_proj`;
    const before = kinds.get(name);
    kinds.set(name, { name, inSize, outSize, count: (before?.count ?? 0) + 1 });
  }
  const sizes = [...kinds.values()];
  const q = sizes.find(({ name }) => name === "q_proj") ?? (sizes[0] as MatrixSize);
  return `<h2>The problem</h2>
<p>A pretrained model is adapted to a task by training it further. Full fine-tuning changes every weight: for each task a whole model must be stored, and training must keep a gradient and two moments for every number. For GPT-3 that is 175 billion numbers a task.</p>
<h2>What people did before</h2>
<p><b>Bottleneck adapters</b> put small layers between the frozen ones. They are few numbers, but they must be computed one after the other, which takes time when the batch is small. <b>Prefixes</b> put trained tokens in front of the text. They take room that the text could use, and are hard to train. <b>BitFit</b> trains the biases alone.</p>
<h2>The idea</h2>
<p>LoRA leaves the weight W₀ as it is and trains a small update beside it: the product of two thin matrices. The guess is that what a task needs to change has a low rank.</p>
<p><math display="block"><mrow><mi>h</mi><mo>=</mo><msub><mi>W</mi><mn>0</mn></msub><mi>x</mi><mo>+</mo><mfrac><mi>α</mi><mi>r</mi></mfrac><mi>B</mi><mi>A</mi><mi>x</mi></mrow></math></p>
<figure class="wide">${updateDrawing(q.name, q.outSize, q.inSize, 8)}<figcaption>A query projection of ${escapeHtml(results.model)} at rank 8, to scale (the rank is drawn at least 10 pixels wide).</figcaption></figure>
<p>A starts as random numbers and B as zero, so that the model is unchanged at the first step. The factor α/r keeps the size of the update alike when the rank changes. For use, B·A is added to W₀: then nothing is slower than before. To change the task, it is subtracted and another added.</p>
<h2>Where it goes</h2>
<figure class="wide">${layerDrawing(
    sizes.map(({ name, outSize, inSize }) => ({ name, outSize, inSize })),
    ["q_proj", "v_proj"],
    8,
  )}<figcaption>One of the ${q.count} layers: frozen numbers on the left, those that LoRA trains at rank 8 on q and v beside them.</figcaption></figure>
<h2>Try it</h2>
${sliders(sizes, results)}`;
}

async function section({ experiment: e, findings }: Measured): Promise<string> {
  const heats: string[] = [];
  for (const heat of findings.heats ?? []) heats.push(await heatFigure(heat));
  return `<section id="${e.name}"><h2>${escapeHtml(e.title)}</h2><p class="section">${escapeHtml(e.section)} · <code>lowrank paper --only ${e.name}</code></p>
<p>${escapeHtml(e.question)}</p>${e.formula ? `<p>${e.formula.replace("<math>", '<math display="block">')}</p>` : ""}
<p><b>The paper:</b> ${escapeHtml(e.theirs)}</p>
${findings.claims.map(claimBox).join("")}
${(findings.figures ?? []).map(figureBox).join("")}${heats.join("")}
${findings.tables.map(tableBox).join("")}
${findings.notes.map((n) => `<p class="soft">${escapeHtml(n)}</p>`).join("")}</section>`;
}

function claimBox({ text, test, verdict, because }: Claim): string {
  const kind = { held: "held", "did not hold": "not", "cannot be told": "" }[verdict];
  return `<div class="claim ${kind}"><b>${verdict}</b> ${escapeHtml(text)}<br><span class="soft">Test: ${escapeHtml(test)} Measured: ${escapeHtml(because)}.</span></div>`;
}

function figureBox(figure: Figure): string {
  return `<figure class="wide">${drawFigure(figure)}<figcaption>${escapeHtml(figure.title)}</figcaption></figure>`;
}

async function heatFigure({ title, rows, columns, values }: Heat): Promise<string> {
  const map: HeatMap = {
    rows: values.map((_, i) => String(i + 1)),
    columns: (values[0] ?? []).map((_, j) => String(j + 1)),
    values,
    range: [0, 1],
    rowName: rows,
    columnName: columns,
  };
  return `<figure class="wide">${await heatMap(map)}<figcaption>${escapeHtml(title)}</figcaption></figure>`;
}

function tableBox({ name, title, columns, rows }: Table): string {
  const isNumber = columns.map((_, c) => rows.every((row) => typeof row[c] !== "string"));
  const cells = (row: readonly (string | number | null)[], tag: string): string =>
    row
      .map(
        (x, c) =>
          `<${tag}${isNumber[c] ? ' class="n"' : ""}>${x === null ? "–" : typeof x === "number" ? numberText(x) : escapeHtml(x)}</${tag}>`,
      )
      .join("");
  const table = `<div class="wide"><table><tr>${cells(columns, "th")}</tr>${rows.map((row) => `<tr>${cells(row, "td")}</tr>`).join("")}</table></div>`;
  const body =
    rows.length > FOLDED_ROWS ? `<details><summary>${rows.length} rows</summary>${table}</details>` : table;
  return `<h3>${escapeHtml(title)} <span class="soft">(${name}.csv)</span></h3>${body}`;
}

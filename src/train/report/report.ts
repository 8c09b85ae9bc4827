import { join } from "node:path";
import { writeFileAtomic } from "../../io/disk.ts";
import { MEASURES } from "../../objectives/measures.ts";
import { describeSettings, type SettingHelp } from "../../options/setting.ts";
import { type TrainConfig, trainConfig, trainConfigSchema } from "../config/config.ts";
import type { DoneEvent, EvaluationEvent, ExactMatchChange, PlanEvent, SamplesEvent } from "../events.ts";
import { type MetricsEvent, readMetrics } from "../metrics-log.ts";
import { resourceRows } from "../resources.ts";
import type { Sample } from "../sample.ts";
import { definitions, grid, type Html, html, page, trusted } from "./html.ts";

/** The files of a report in its run folder. */
export const REPORT_FILE = "report.html";
export const CURVE_FILE = "loss.svg";

/** What the report tells besides the run's metrics log. */
export interface ReportData {
  readonly config: TrainConfig;
  readonly plan: PlanEvent;
  readonly outcome: Omit<DoneEvent, "type" | "reportPath">;
}

/** Writes `loss.svg` and a self-contained `report.html` from the metrics log of the run folder, each whole or not at
 *  all. Returns the path of the report. */
export async function writeReport(runFolder: string, data: ReportData): Promise<string> {
  const metrics = await readMetrics(runFolder);
  const { lossChart } = await import("./chart.ts"); // half of all modules of the library, for one drawing
  const svg = lossChart(metrics, data.plan.lossUnit);
  const path = join(runFolder, REPORT_FILE);
  await writeFileAtomic(join(runFolder, CURVE_FILE), svg);
  await writeFileAtomic(path, reportPage(data, metrics, svg));
  return path;
}

/** The page. Everything that came from data or model is escaped. */
export function reportPage(data: ReportData, metrics: readonly MetricsEvent[], svg: string): string {
  const { config, plan } = data;
  const title = config.name ?? `${plan.model} on ${plan.data}`;
  const evaluations = metrics.filter((event) => event.type === "evaluation");
  const samples = metrics.flatMap((e) => (e.type === "samples" && e.samples.length > 0 ? [e] : []));
  return page(title, [
    tiles(data),
    html`<h2>Loss</h2><div class="card">${trusted(svg)}</div>`,
    evaluations.length > 0
      ? html`<h2>Evaluations</h2><div class="card">${evaluationTable(evaluations, plan)}</div>`
      : html``,
    samples.length > 0 ? html`<h2>Samples</h2><div class="card">${sampleTable(samples)}</div>` : html``,
    html`<h2>Plan</h2><div class="card">${planTable(data)}</div>`,
    html`<h2>Memory and storage</h2><div class="card">${resourceTable(data)}</div>`,
    html`<h2>Options</h2><div class="card">${optionTable(config)}</div>`,
  ]);
}

function tiles({ plan, outcome }: ReportData): Html {
  const { lossBefore, lossAfter, exactMatch } = outcome;
  const loss =
    lossBefore === null || lossAfter === null ? "–" : `${lossBefore.toFixed(3)} → ${lossAfter.toFixed(3)}`;
  const facts = [
    [`held-out loss before → after, ${plan.lossUnit}`, loss],
    ...exactMatchFacts(exactMatch),
    [`of ${integer(plan.totalParameters)} parameters trained`, integer(plan.trainableParameters)],
    ["steps", integer(outcome.steps)],
    ["minutes", (outcome.elapsedMs / 60_000).toFixed(1)],
  ] as const;
  return html`<div class="tiles">${facts.map(([what, value]) => html`<div class="tile"><b>${value}</b><span>${what}</span></div>`)}</div>`;
}

function exactMatchFacts(exactMatch: ExactMatchChange | undefined): [what: string, value: string][] {
  if (exactMatch === undefined) return [];
  const { before, after, prompts } = exactMatch;
  const percent = (share: number): string => `${(100 * share).toFixed(0)}%`;
  const what = `of ${integer(prompts)} held-out answers exactly right, before → after`;
  return [[what, `${percent(before)} → ${percent(after)}`]];
}

function evaluationTable(evaluations: readonly EvaluationEvent[], { lossUnit, counts }: PlanEvent): Html {
  const measured = MEASURES.filter(({ key }) => evaluations.some((e) => e[key] !== undefined));
  const rows = evaluations.map((e) => [
    e.step === 0 ? "before" : integer(e.step),
    e.split,
    e.loss.toFixed(4),
    ...measured.map(({ key, text }) => (e[key] === undefined ? "–" : text(e[key]))),
    integer(e.labelTokens),
  ]);
  const counted = counts.replace(/^./, (ch) => ch.toUpperCase());
  return grid(["Step", "Data", `Loss (${lossUnit})`, ...measured.map((m) => m.title), counted], rows);
}

/** Columns of answers between the first and the last. */
const MAX_DURING = 4;

/** At most `count` items of a list, evenly spaced. */
function spread<T>(items: readonly T[], count: number): readonly T[] {
  if (items.length <= count) return items;
  return Array.from(
    { length: count },
    (_, i) => items[Math.round(((i + 1) * items.length) / (count + 1))] as T,
  );
}

function sampleTable(events: readonly SamplesEvent[]): Html {
  const [before, after] = ["before", "after"].map(
    (when) => events.find((e) => e.when === when)?.samples ?? [],
  );
  const during = spread(
    events.filter((e) => e.when === "during"),
    MAX_DURING,
  );
  const outputOf = (samples: readonly Sample[], prompt: string, i: number): string =>
    (samples.find((other) => other.prompt === prompt) ?? samples[i])?.output ?? "";
  const rows = (after?.length ? after : (before ?? [])).map(({ prompt, reference }, i) => [
    ...[prompt, reference, outputOf(before ?? [], prompt, i)],
    ...during.map((event) => outputOf(event.samples, prompt, i)),
    after?.[i]?.output ?? "",
  ]);
  const steps = during.map(({ step }) => `Step ${step}`);
  return grid(["Prompt", "Expected", "Before", ...steps, "After"], rows, "samples");
}

function planTable({ plan, outcome }: ReportData): Html {
  const { padded, trie, labels, countedBatches } = plan.tokensPerEpoch;
  const estimated = countedBatches ? ` (estimated from ${integer(countedBatches)} batches)` : "";
  return definitions([
    ["Model", plan.model],
    ["Task", plan.labels === null ? plan.task : `${plan.task}: ${plan.labels.join(", ")}`],
    ["Method", `${plan.method}, ${(plan.share * 100).toFixed(2)}% of the parameters`],
    ["Training examples", `${integer(plan.examples)} (${plan.truncated} truncated, ${plan.dropped} dropped)`],
    ["Held out", `${integer(plan.validationExamples)} validation, ${integer(plan.testExamples)} test`],
    [
      "Tokens per epoch",
      `${integer(padded)} padded, ${integer(trie)} packed${estimated}, ${integer(labels)} ${plan.counts === "tokens" ? "" : `${plan.counts} `}with a loss`,
    ],
    ["Steps", `${integer(plan.steps)}, ${integer(plan.stepsPerEpoch)} per epoch`],
    ["Kept", outcome.bestStep === null ? "the last adapter" : `the adapter of step ${outcome.bestStep}`],
    ["Adapter", html`<code>${outcome.adapterPath}</code>`],
  ]);
}

/** What the method costs (LoRA §4.2), as planned and as measured. */
function resourceTable({ plan: { resources }, outcome: { measured } }: ReportData): Html {
  const rows = resourceRows(resources, measured).map(({ what, plannedBytes, measuredBytes }) => [
    what,
    mebibytes(plannedBytes),
    measuredBytes === null ? "" : mebibytes(measuredBytes),
  ]);
  return grid(["", "Planned, MiB", "Measured, MiB"], rows);
}

function mebibytes(bytes: number): string {
  return (bytes / 2 ** 20).toLocaleString("en-US", { maximumSignificantDigits: 4 });
}

/** Every option; those that are not at their default stand out. */
function optionTable(config: TrainConfig): Html {
  const defaults = trainConfig();
  const rows = describeSettings(trainConfigSchema).map(({ key, help }) => {
    const [value, standard] = [config, defaults].map((one) =>
      optionText(one[key as keyof TrainConfig], help),
    );
    return [
      key,
      value === standard ? String(value) : html`<span class="changed">${String(value)}</span>`,
    ] as const;
  });
  const half = Math.ceil(rows.length / 2);
  return html`<div class="halves">${definitions(rows.slice(0, half))}${definitions(rows.slice(half))}</div>`;
}

function optionText(value: unknown, help: SettingHelp): string {
  if (value === null) return help.defaultText ?? "none";
  if (Array.isArray(value)) return value.length > 0 ? value.join(", ") : "none";
  if (typeof value === "object")
    return Object.keys(value as object).length > 0 ? JSON.stringify(value) : "none";
  return String(value);
}

function integer(value: number): string {
  return value.toLocaleString("en-US");
}

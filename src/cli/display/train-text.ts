import { measureTexts } from "../../objectives/measures.ts";
import type {
  DoneEvent,
  EvaluationEvent,
  PlanEvent,
  PreviewEvent,
  ProfileEvent,
  ResourcePlan,
  SamplesEvent,
  StepEvent,
} from "../../train/events.ts";
import type { ProfileShare } from "../../train/profile/read.ts";
import type { PreviewSpan, Sample } from "../../train/sample.ts";
import {
  formatBytes,
  formatCount,
  formatDuration,
  formatInteger,
  formatLearningRate,
  formatLoss,
  formatRate,
  formatShare,
} from "./format.ts";
import type { Style } from "./output.ts";
import { labelled, printable, sideBySide } from "./text.ts";

/** Most labels that are named. */
const SHOWN_LABELS = 12;

/** What it is trained for, where that is not language modelling. */
function taskRows({ task, labels }: PlanEvent): [string, string][] {
  if (task === "language-modelling") return [];
  const shown = labels?.slice(0, SHOWN_LABELS).join(", ") ?? "";
  const more = labels && labels.length > SHOWN_LABELS ? `, … (${labels.length} in all)` : "";
  return [["Task", shown === "" ? task : `${task}: ${shown}${more}`]];
}

/** Who trains, where that is not one process. */
function processRows({ processes }: PlanEvent): [string, string][] {
  return processes === undefined ? [] : [["Processes", `${processes}, which share out each step's examples`]];
}

/** The plan as a table. */
export function planLines(plan: PlanEvent, columns: number): string[] {
  const { padded, trie, labels, countedBatches } = plan.tokensPerEpoch;
  const held = [
    plan.validationExamples > 0 ? `${formatInteger(plan.validationExamples)} validation` : "",
    plan.testExamples > 0 ? `${formatInteger(plan.testExamples)} test` : "",
  ].filter((text) => text !== "");
  const cut = [
    plan.truncated > 0 ? `${formatInteger(plan.truncated)} truncated` : "",
    plan.dropped > 0 ? `${formatInteger(plan.dropped)} dropped` : "",
  ].filter((text) => text !== "");
  const rows: [string, string][] = [
    ["Model", plan.model],
    ...taskRows(plan),
    [
      "Adapter",
      `${plan.method}: ${formatInteger(plan.trainableParameters)} of ${formatCount(plan.totalParameters)} ` +
        `parameters (${formatShare(plan.share)})`,
    ],
    ["Data", [`${plan.data}: ${formatInteger(plan.examples)} examples`, ...held, ...cut].join(", ")],
    [
      "Tokens",
      `${formatInteger(padded)} padded → ${formatInteger(trie)} packed (${(padded / Math.max(1, trie)).toFixed(2)} ` +
        `times fewer${countedBatches === null ? "" : `; estimated from ${formatInteger(countedBatches)} batches`}), ` +
        `${formatInteger(labels)} ${plan.counts === "tokens" ? "" : `${plan.counts} `}with a loss, per epoch`,
    ],
    ["Steps", `${formatInteger(plan.steps)} (${formatInteger(plan.stepsPerEpoch)} per epoch)`],
    ...processRows(plan),
    ["Memory", memoryText(plan)],
    ["Files", filesText(plan.resources)],
  ];
  if (plan.estimatedSeconds !== null)
    rows.push(["Time", `about ${formatDuration(plan.estimatedSeconds * 1000)}`]);
  if (plan.runFolder !== "") rows.push(["Run folder", plan.runFolder]);
  return labelled(rows, columns);
}

const RECOMPUTED: Readonly<Record<PlanEvent["recompute"], string>> = {
  none: "",
  cheap: ", attention and activations computed twice",
  layer: ", layers computed twice",
};

function memoryText({ resources: plan, recompute }: PlanEvent): string {
  const parts = [
    `${formatBytes(plan.frozenBytes)} frozen weights`,
    `${formatBytes(plan.trainableBytes)} trained`,
    `${formatBytes(plan.gradientBytes)} gradient`,
    `${formatBytes(plan.optimizerBytes)} optimizer`,
  ];
  return `about ${formatBytes(plan.memoryBytes)} at its peak: ${parts.join(", ")}, the rest to work in${RECOMPUTED[recompute]}`;
}

function filesText(plan: ResourcePlan): string {
  return `${formatBytes(plan.adapterBytes)} adapter, ${formatBytes(plan.checkpointBytes)} each checkpoint`;
}

/** Modules that a profile shows; the file has them all. */
const SHOWN_MODULES = 12;

/** Where the time of a training step went: by kind, operator, module and layer. */
export function profileLines({ profile, path, chartPath }: ProfileEvent, style: Style): string[] {
  const { passes, passMs, byKind, byOperator, byModule, byLayer } = profile;
  const table = (heading: string, shares: readonly ProfileShare[]): string[] => [
    "",
    `${heading.padEnd(32)} ${["forward", "backward", "share", "nodes"].map((h) => h.padStart(9)).join(" ")}`,
    ...shares.map(({ name, forwardMs, backwardMs, calls }) => {
      const share = `${((100 * (forwardMs + backwardMs)) / passMs).toFixed(1)}%`;
      const numbers = [forwardMs.toFixed(1), backwardMs.toFixed(1), share, calls.toFixed(0)];
      return `${name.padEnd(32)} ${numbers.map((n) => n.padStart(9)).join(" ")}`;
    }),
  ];
  return [
    "",
    `One forward and backward pass: ${passMs.toFixed(1)} ms, mean of ${passes}; in ms:`,
    ...table("Kind of work", byKind),
    ...table("Operator", byOperator),
    ...table("Module, all layers", byModule.slice(0, SHOWN_MODULES)),
    ...table("Layer", byLayer),
    style.dim(`profile ${path}, chart ${chartPath}`),
    "",
  ];
}

/** The decoded examples: what the loss ignores is dim; without colours, what it counts stands in «…». */
export function previewLines(preview: PreviewEvent, style: Style): string[] {
  const legend = style.isColored ? `${style.dim("dim")} = no loss` : "«…» = trained on";
  const heading = `${preview.examples.length === 1 ? "One example" : `${preview.examples.length} examples`} as the model sees them (${legend}):`;
  return [
    heading,
    ...preview.examples.flatMap((spans) => [
      "",
      ...spans
        .map((span) => markSpan(span, style))
        .join("")
        .split("\n")
        .map((line) => `  ${line}`),
    ]),
  ];
}

/** What looks like a special token and is none is shown token by token. */
function withCuts({ text, cuts = [] }: PreviewSpan): string {
  return cuts.toReversed().reduce((shown, at) => `${shown.slice(0, at)}·${shown.slice(at)}`, text);
}

function markSpan(span: PreviewSpan, style: Style): string {
  const text = printable(withCuts(span));
  if (!style.isColored) return span.isLabel ? text.replace(/^(\n*)(.*?)(\n*)$/s, "$1«$2»$3") : text;
  return text
    .split("\n")
    .map((line) => (line === "" ? line : span.isLabel ? style.green(line) : style.dim(line)))
    .join("\n");
}

/** Beside the bar: "67/164  loss 2.1340  lr 7.12e-4  812 tokens/s  eta 1m 32s". */
export function liveStepText(step: StepEvent): string {
  return [
    `${step.step}/${step.steps}`,
    `loss ${formatLoss(step.loss)}`,
    `lr ${formatLearningRate(step.learningRate)}`,
    `${formatRate(step.tokensPerSecond)} tokens/s`,
    `eta ${formatDuration(step.etaMs)}`,
  ].join("  ");
}

/** One line of a piped run. */
export function stepLine(step: StepEvent): string {
  return [
    `step ${step.step}/${step.steps}`,
    `epoch ${step.epoch.toFixed(2)}`,
    `loss ${formatLoss(step.loss)}`,
    `lr ${formatLearningRate(step.learningRate)}`,
    `grad ${step.gradNorm.toFixed(3)}`,
    `${formatRate(step.tokensPerSecond)} tokens/s`,
    `${formatRate(step.examplesPerSecond)} examples/s`,
    `eta ${formatDuration(step.etaMs)}`,
  ].join("  ");
}

/** "test loss 3.7630 before training (perplexity 43.08, token accuracy 41.2%, 2,310 tokens, 12.3 s)". `counts`: what the loss
 *  is the mean over. */
export function evaluationLine(evaluation: EvaluationEvent, counts = "tokens"): string {
  const when = evaluation.step === 0 ? "before training" : `after step ${evaluation.step}`;
  const best =
    evaluation.isBest && evaluation.step > 0 && evaluation.split === "validation" ? ", best so far" : "";
  const measures = measureTexts(evaluation).map(([title, value]) => `${inSentence(title)} ${value}, `);
  return (
    `${evaluation.split} loss ${formatLoss(evaluation.loss)} ${when} ` +
    `(${measures.join("")}${formatInteger(evaluation.labelTokens)} ${counts}, ${formatDuration(evaluation.elapsedMs)}${best})`
  );
}

/** "Token accuracy" → "token accuracy"; names and F1 stay. */
function inSentence(title: string): string {
  return /^(Matthews|Pearson|Spearman|F1)/.test(title)
    ? title
    : title.replace(/^./, (ch) => ch.toLowerCase());
}

/** "exact match 42.5% of 40 answers after step 138" */
export function exactMatchLines({ exactMatch, when, step }: SamplesEvent): string[] {
  if (exactMatch === undefined) return [];
  const at = when === "before" ? "before training" : `after step ${step}`;
  return [
    `exact match ${formatShare(exactMatch.share)} of ${formatInteger(exactMatch.prompts)} answers ${at}`,
  ];
}

/** Samples, the answers before and after training beside each other (below each other where it is narrow). */
export function sampleLines(
  before: readonly Sample[],
  after: readonly Sample[],
  columns: number,
  style: Style,
): string[] {
  return after.flatMap((sample, i) => {
    const earlier = before.find((other) => other.prompt === sample.prompt) ?? before[i];
    const head = labelled(
      [
        ["Prompt", printable(sample.prompt)],
        ["Expected", printable(sample.reference)],
      ],
      columns,
    );
    return ["", style.bold(`Sample ${i + 1}`), ...head, ...answers(earlier, sample, columns, style)];
  });
}

/** What an adapter answers so far, a line for each prompt. */
export function answerLines({ step, samples }: SamplesEvent, columns: number, style: Style): string[] {
  const rows = samples.flatMap(({ prompt, output }): [string, string][] => [
    ["Prompt", printable(prompt)],
    ["Answer", printable(output).trim()],
  ]);
  return [style.dim(`samples at step ${step}`), ...labelled(rows, columns)];
}

function answers(before: Sample | undefined, after: Sample, columns: number, style: Style): string[] {
  const [old, now] = [printable(before?.output ?? "").trim(), printable(after.output).trim()];
  if (before === undefined) return labelled([["After", now]], columns);
  if (columns < 72)
    return labelled(
      [
        ["Before", old],
        ["After", now],
      ],
      columns,
    );
  const [heading, ...lines] = sideBySide(`Before\n${old}`, `After\n${now}`, columns);
  return [style.dim(heading as string), ...lines];
}

/** The end of a run. `split` names the held-out set whose loss is meant, `plan` what the loss is in. Not wrapped: paths and the
 *  command are there to be copied. */
export function summaryLines(
  done: DoneEvent,
  split: string,
  samplePrompt: string | null,
  { lossUnit, command }: Pick<PlanEvent, "lossUnit" | "command">,
): string[] {
  const rows: [string, string][] = [];
  if (done.lossBefore !== null && done.lossAfter !== null)
    rows.push([
      `${split} loss`.replace(/^./, (ch) => ch.toUpperCase()),
      `${formatLoss(done.lossBefore)} → ${formatLoss(done.lossAfter)} ${lossUnit}${perplexities(done, lossUnit)}`,
    ]);
  if (done.exactMatch !== undefined) {
    const { before, after, prompts } = done.exactMatch;
    const of = `${formatInteger(prompts)} held-out answers`;
    rows.push(["Exact match", `${formatShare(before)} → ${formatShare(after)} of ${of}`]);
  }
  rows.push(["Trained", `${formatInteger(done.steps)} steps in ${formatDuration(done.elapsedMs)}`]);
  if (done.bestStep !== null && done.bestStep !== done.steps)
    rows.push(["Kept", `the adapter of step ${done.bestStep}`]);
  const { adapterBytes, checkpointBytes, peakMemoryBytes } = done.measured;
  rows.push([
    "Cost",
    `${formatBytes(peakMemoryBytes)} memory at its peak, ${formatBytes(adapterBytes)} adapter, ` +
      `${formatBytes(checkpointBytes)} checkpoint`,
  ]);
  rows.push(["Adapter", done.adapterPath], ["Report", done.reportPath]);
  const isShort = samplePrompt !== null && samplePrompt.length <= 100 && !/\p{Cc}/u.test(samplePrompt);
  const prompt = shellQuote(isShort ? samplePrompt : `your ${command === "generate" ? "prompt" : "text"}`);
  rows.push(["Try it", `lowrank ${command} --adapter ${shellQuote(done.adapterPath)} ${prompt}`]);
  return labelled(rows, Number.POSITIVE_INFINITY);
}

function perplexities({ lossBefore, lossAfter }: DoneEvent, lossUnit: string): string {
  if (lossUnit !== "nats per token") return "";
  const [before, after] = [lossBefore, lossAfter].map((loss) => Math.exp(loss ?? 0).toFixed(2));
  return ` (perplexity ${before} → ${after})`;
}

/** A word as a shell reads it back. */
export function shellQuote(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

import type { JobOption } from "../src/server/dashboard/shapes.ts";
import type { JobPreview, PreviewPiece, PreviewPlan } from "../src/server/jobs/preview-object.ts";
import { isFor } from "./draft.ts";
import { type Fact, Facts } from "./facts.tsx";
import { bytes, count, duration, share, short } from "./text.ts";

interface PlanProps {
  readonly preview: JobPreview;
  readonly plan: PreviewPlan;
  readonly options: readonly JobOption[];
}

/** What a job would train, and what it would take. */
export function PlanFacts({ preview, plan, options }: PlanProps) {
  return (
    <>
      <Facts facts={factsOf(preview, plan, rankOf(preview, options))} small />
      {preview.warnings.map((warning) => (
        <p key={warning} class="notice">
          {warning}
        </p>
      ))}
    </>
  );
}

/** The first examples, or what is wrong with the file. */
export function Rows({ preview }: Pick<PlanProps, "preview">) {
  if (preview.plan === null) return <Problems preview={preview} />;
  return (
    <div class="rows">
      <h3>First examples, as the model reads them</h3>
      <p class="facts">
        <mark>Marked</mark> text is learned; the rest is only read.
      </p>
      <ol class="examples">
        {preview.examples.map((pieces, i) => (
          <li key={i}>
            <Example pieces={pieces} />
          </li>
        ))}
      </ol>
    </div>
  );
}

function Problems({ preview: { problems, problems_left_out: leftOut } }: Pick<PlanProps, "preview">) {
  return (
    <div class="rows">
      <h3>Problems of the file</h3>
      <ul class="problems">
        {problems.map(({ file, where, message }) => (
          <li key={file + where + message}>
            {file === "validation_file" && "validation file, "}
            <strong>{where}</strong>: {message}
          </li>
        ))}
        {leftOut > 0 && <li>and {count(leftOut)} more</li>}
      </ul>
      <p class="facts">Correct the file and choose it again.</p>
    </div>
  );
}

/** null: the method has none. */
function rankOf({ lowrank }: JobPreview, options: readonly JobOption[]): string | null {
  const option = options.find(({ key }) => key === "rank");
  return option && isFor(option, String(lowrank.method)) ? String(lowrank.rank) : null;
}

function factsOf(preview: JobPreview, plan: PreviewPlan, rank: string | null): readonly Fact[] {
  const { trainable_parameters: trained, total_parameters: all, steps, estimated_seconds: seconds } = plan;
  return [
    ["Examples", examplesText(plan, preview.validation_file !== null)],
    ["Method", rank === null ? plan.method : `${plan.method}, rank ${rank}`],
    ["What is trained", placesText(plan)],
    ["Trained numbers", `${count(trained)} of ${short(all)} (${share(trained / all)})`],
    ["Tokens learned", count(plan.trained_tokens)],
    [
      "Tokens computed per pass",
      `${count(plan.packed_tokens_per_epoch)} (padded: ${count(plan.padded_tokens_per_epoch)})`,
    ],
    ["Steps", `${count(steps)} (${count(plan.steps_per_epoch)} per pass)`],
    ["Estimated time", timeText(seconds)],
    ["Estimated memory", `about ${bytes(plan.memory_bytes)}`],
    ["Size of the adapter", bytes(plan.adapter_bytes)],
  ];
}

/** Of the steps, by a measurement that was made for the plan. */
function timeText(seconds: number | null): string {
  if (seconds === null) return "not known before the first step";
  return `about ${duration(seconds * 1000)}, as fast as this machine is now`;
}

function examplesText(plan: PreviewPlan, hasFile: boolean): string {
  const { examples, validation_examples: measured, truncated, dropped } = plan;
  const parts = [
    count(examples),
    ...(measured > 0 ? [`${count(measured)} ${hasFile ? "to measure on" : "held out"}`] : []),
    ...(truncated > 0 ? [`${count(truncated)} cut`] : []),
    ...(dropped > 0 ? [`${count(dropped)} too long and left out`] : []),
  ];
  return parts.join(", ");
}

/** "q_proj, v_proj (60 modules)" */
function placesText({ trained }: PreviewPlan): string {
  const last = (name: string): string => name.split(".").at(-1) as string;
  const lasts = trained.map(({ name }) => last(name));
  // "down" of two kinds says nothing: then what stands behind the layer.
  const isUnique = new Set(lasts).size === lasts.length;
  const names = isUnique ? lasts : trained.map(({ name }) => name.replace(/^.*\*\./, ""));
  const modules = trained.reduce((sum, { count: n }) => sum + n, 0);
  return `${names.join(", ")} (${count(modules)} ${modules === 1 ? "module" : "modules"})`;
}

function Example({ pieces }: { readonly pieces: readonly PreviewPiece[] }) {
  return (
    <p class="example">
      {pieces.map((piece, i) => {
        const text = withCuts(piece);
        return piece.is_label ? <mark key={i}>{text}</mark> : <span key={i}>{text}</span>;
      })}
    </p>
  );
}

/** What looks like a special token and is none is shown token by token. */
function withCuts({ text, cuts }: PreviewPiece): string {
  return cuts.toReversed().reduce((shown, at) => `${shown.slice(0, at)}·${shown.slice(at)}`, text);
}

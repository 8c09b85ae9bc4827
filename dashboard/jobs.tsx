import { useState } from "preact/hooks";
import type { JobInfo, JobList } from "../src/server/dashboard/shapes.ts";
import { messageOf, send } from "./api.ts";
import { type Fact, Facts } from "./facts.tsx";
import { progressOf, RunView } from "./run-view.tsx";
import { count, loss, NOT_KNOWN } from "./text.ts";

interface JobsProps {
  /** The one that is served: jobs of others wait for their own. */
  readonly base: string;
  /** Those that answer now: what a job has made may be deleted. */
  readonly models: readonly string[];
  readonly jobs: JobList;
  readonly chosen: string | null;
  onChosen(id: string): void;
  /** Something was done to a job. */
  onChanged(): void;
  onCompare(model: string): void;
}

/** Jobs, and one of them with what can be done to it. */
export function Jobs(props: JobsProps) {
  const { base, models, jobs, chosen, onChosen, onChanged, onCompare } = props;
  const { list, leftOut } = jobs;
  if (list.length === 0) return <p class="facts apart">No jobs yet.</p>;
  const shown = list.find(({ id }) => id === chosen) ?? (list[0] as JobInfo);
  return (
    <>
      <h3 class="apart">Jobs</h3>
      <div class="runs">
        <ul class="list" aria-label="Jobs">
          {list.map((job) => (
            <li key={job.id}>
              <button
                type="button"
                class="run"
                aria-pressed={job.id === shown.id}
                onClick={() => onChosen(job.id)}
              >
                <span class="name">{job.name}</span>
                <span class={`state ${job.status}`}>{STATES[job.status]}</span>
                <span class="facts">{lineOf(job)}</span>
              </button>
            </li>
          ))}
          {leftOut > 0 && <li class="facts">{count(leftOut)} older jobs are not listed.</li>}
        </ul>
        <JobView key={shown.id} {...{ base, models, onChanged, onCompare }} job={shown} />
      </div>
    </>
  );
}

const STATES: Readonly<Record<JobInfo["status"], string>> = {
  queued: "queued",
  running: "running",
  paused: "paused",
  succeeded: "done",
  failed: "failed",
  cancelled: "cancelled",
};

function lineOf({ status, file, run }: JobInfo): string {
  if (run !== null) return progressOf(run);
  if (status === "running") return "reading and planning";
  return status === "queued" ? "waits for its turn" : (file ?? "");
}

interface JobViewProps extends Pick<JobsProps, "base" | "models" | "onChanged" | "onCompare"> {
  readonly job: JobInfo;
}

function JobView(props: JobViewProps) {
  const { job } = props;
  const { name, run, error } = job;
  const facts = factsOf(props);
  const rest = (
    <>
      {error !== null && <p class="error">{error}</p>}
      <Buttons {...props} />
    </>
  );
  if (run !== null)
    return (
      <RunView run={run} name={name} facts={facts}>
        {rest}
      </RunView>
    );
  return (
    <div class="curve">
      <h3>{name}</h3>
      <Facts facts={facts} small />
      {rest}
    </div>
  );
}

function factsOf({ job, base, models }: JobViewProps): readonly Fact[] {
  const { status, file, model, run, createdMs } = job;
  return [
    ["State", STATES[status]],
    ...(job.base === base ? [] : [["Base", `${job.base}, which is not served now`] as const]),
    ["File", file ?? "deleted"],
    ["Made", new Date(createdMs).toLocaleString()],
    ...(model === null ? [] : [["Model", models.includes(model) ? model : `${model}, not loaded`] as const]),
    ...(run?.method ? [["Method", run.method] as const] : []),
    ...(run === null ? [] : [["Loss", run.loss === null ? NOT_KNOWN : loss(run.loss)] as const]),
    ...(run === null ? [] : [["Tokens learned", count(run.trainedTokens)] as const]),
  ];
}

type Action = "pause" | "resume" | "cancel";

const ACTIONS: Readonly<Record<JobInfo["status"], readonly Action[]>> = {
  queued: ["pause", "cancel"],
  running: ["pause", "cancel"],
  paused: ["resume", "cancel"],
  succeeded: [],
  failed: [],
  cancelled: [],
};

const LABELS: Readonly<Record<Action, string>> = { pause: "Pause", resume: "Resume", cancel: "Cancel" };

function Buttons({ models, job, onChanged, onCompare }: JobViewProps) {
  const { id, name, status } = job;
  const model = models.find((one) => one === job.model) ?? null;
  const [error, setError] = useState<string | null>(null);
  const act = async (action: Action): Promise<void> => {
    if (action === "cancel" && !confirm(`End ${name} for good? Its checkpoints stay.`)) return;
    setError(null);
    await send(`v1/fine_tuning/jobs/${id}/${action}`, {}).catch((reason) => setError(messageOf(reason)));
    onChanged();
  };
  if (ACTIONS[status].length === 0 && model === null) return null;
  return (
    <div class="row">
      {ACTIONS[status].map((action) => (
        <button
          key={action}
          type="button"
          class="quiet"
          aria-label={`${LABELS[action]} ${name}`}
          onClick={() => void act(action)}
        >
          {LABELS[action]}
        </button>
      ))}
      {model !== null && (
        <button type="button" onClick={() => onCompare(model)}>
          Compare with the base
        </button>
      )}
      {error !== null && (
        <p class="error" role="alert">
          {error}
        </p>
      )}
    </div>
  );
}

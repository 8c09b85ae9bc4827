import type { Job } from "../jobs/job-store.ts";
import { STATUSES } from "../jobs/job-store.ts";
import type { Jobs } from "../jobs/jobs.ts";
import type { RunReader } from "./runs.ts";
import type { AdapterInfo, JobInfo, JobList } from "./shapes.ts";

/** Jobs that are listed. */
const MOST_JOBS = 50;

/** The newest jobs of a server, with what their runs say. */
export async function readJobs({ folder }: Jobs, runs: RunReader): Promise<JobList> {
  const page = { after: undefined, limit: MOST_JOBS, order: "desc" } as const;
  const { rows } = folder.jobs.list(page, {});
  const all = STATUSES.reduce((sum, status) => sum + folder.jobs.countOf(status), 0);
  const list: JobInfo[] = [];
  for (const job of rows) {
    const file = folder.files.get(job.trainingFile)?.filename ?? null;
    list.push({ ...infoOf(job), file, run: await runs.ofJob(job.id) });
  }
  return { list, leftOut: all - rows.length };
}

function infoOf({
  id,
  suffix,
  status,
  model,
  createdAt,
  fineTunedModel,
  error,
}: Job): Omit<JobInfo, "file" | "run"> {
  return {
    id,
    name: suffix ?? id,
    status,
    base: model,
    createdMs: createdAt * 1000,
    model: fineTunedModel,
    error: error?.message ?? null,
  };
}

/** An uploaded file, as a run names it. */
const UPLOADED = /^(file-[0-9a-f]+)\.\w+$/;

/** Adapters with the names of uploaded files as their clients know them. */
export function withFileNames(adapters: readonly AdapterInfo[], { folder }: Jobs): AdapterInfo[] {
  return adapters.map((adapter) => {
    const id = UPLOADED.exec(adapter.trainedOn ?? "")?.[1];
    const file = id === undefined ? null : folder.files.get(id);
    return file === null ? adapter : { ...adapter, trainedOn: file.filename };
  });
}

import { Gauge, type Registry } from "prom-client";
import { STATUSES } from "./job-store.ts";
import type { Jobs } from "./jobs.ts";

/** Counts jobs by status. */
export function watchJobs({ folder }: Jobs, registry: Registry): void {
  new Gauge({
    name: "lowrank_jobs",
    help: "Fine-tuning jobs by status",
    labelNames: ["status"],
    registers: [registry],
    collect() {
      for (const status of STATUSES) this.set({ status }, folder.jobs.countOf(status));
    },
  });
}

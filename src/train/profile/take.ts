import { randomUUID } from "node:crypto";
import { readdir, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { writeFileAtomic } from "../../io/disk.ts";
import type { ProfileEvent } from "../events.ts";
import type { TrainEngine } from "../step.ts";
import { readProfile } from "./read.ts";

/** Steps before those that count: caches and memory pools fill up. */
const WARM_UP_STEPS = 2;
/** Steps that are measured; profiling ends with them, because the trace grows by thousands of events per pass. */
const MEASURED_STEPS = 5;

/** The files of a profile in its run folder. */
export const PROFILE_FILE = "profile.json";
const CHART_FILE = "profile.svg";

/** A profile under way: of the first steps that this process takes. */
export interface Profiling {
  /** What the engine is told: prefix of its trace. */
  readonly prefix: string;
  /** Tells of a step and of how many passes it was. Whether the steps are enough. */
  noteStep(passes: number): boolean;
  /** Ends the profile, writes its files into the run folder and removes the trace. null where no step counts. */
  finish(engine: TrainEngine): Promise<ProfileEvent | null>;
}

/** Profiles the first steps of a run in `folder`. */
export function startProfiling(folder: string): Profiling {
  const name = `.trace-${randomUUID()}`;
  const passesOf: number[] = [];
  const sum = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0);
  return {
    prefix: resolve(folder, name),
    noteStep: (passes) => passesOf.push(passes) >= WARM_UP_STEPS + MEASURED_STEPS,
    finish: async (engine) => {
      await engine.endProfile();
      const files = (await readdir(folder)).filter((file) => file.startsWith(name));
      const [trace] = files;
      try {
        if (trace === undefined || passesOf.length <= WARM_UP_STEPS) return null;
        return await written(folder, join(folder, trace), sum(passesOf.slice(0, WARM_UP_STEPS)));
      } finally {
        for (const file of files) await rm(join(folder, file), { force: true });
      }
    },
  };
}

async function written(folder: string, trace: string, skip: number): Promise<ProfileEvent> {
  const profile = await readProfile(trace, skip);
  const [path, chartPath] = [join(folder, PROFILE_FILE), join(folder, CHART_FILE)];
  await writeFileAtomic(path, `${JSON.stringify(profile, null, 2)}\n`);
  const { profileChart } = await import("../report/profile-chart.ts"); // its library is large: only where it draws
  await writeFileAtomic(chartPath, profileChart([{ name: "", profile }]));
  return { type: "profile", profile, path, chartPath };
}

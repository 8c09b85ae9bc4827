import type { StepEvent, TrainEvent } from "../../train/events.ts";

const EVERY_MS = 1000;

/** Events of a run that a job keeps. */
export type KeptEvent = Exclude<TrainEvent, { type: "progress" | "profile" }>;

/** Passes on what a job keeps of a run's events: at most one step a second, and the last step before whatever else comes. */
export function thinned(
  take: (event: KeptEvent) => void,
  now: () => number = Date.now,
): (event: TrainEvent) => void {
  let lastMs = Number.NEGATIVE_INFINITY;
  let held: StepEvent | null = null;
  const flush = (): void => {
    if (held !== null) take(held);
    held = null;
  };
  return (event) => {
    if (event.type === "progress" || event.type === "profile") return;
    if (event.type !== "step") {
      flush();
      take(event);
      return;
    }
    held = event;
    if (now() - lastMs < EVERY_MS) return;
    lastMs = now();
    flush();
  };
}

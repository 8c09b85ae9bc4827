import { noteText } from "../data/notes.ts";
import type { RunPlan } from "./plan.ts";

/** What the user of a planned run should know. `ofDevice`: what there is to say of where it computes. */
export function planWarnings(plan: RunPlan, ofDevice: readonly string[] = []): string[] {
  const notices = plan.model.methods.flatMap((m) => m.notices);
  return [...plan.base.warnings, ...ofDevice, ...dataWarnings(plan), ...notices];
}

function dataWarnings({ task, base, dataset, train }: RunPlan): string[] {
  const { duplicates } = dataset;
  const hidden = (split: "validation" | "test"): string[] => {
    const count = dataset[split].length - task.objective.labelled(dataset[split], base).length;
    return count === 0
      ? []
      : [`${count} of ${dataset[split].length} ${split} rows have no label (-1) and are left out`];
  };
  const shared = (split: "validation" | "test"): string =>
    `${duplicates[split]} of ${dataset[split].length} ${split} rows are also training rows: the ${split} loss is too good`;
  return [
    ...hidden("validation"),
    ...hidden("test"),
    ...(["validation", "test"] as const).filter((s) => duplicates[s] > 0).map(shared),
    ...[...dataset.notes, ...train.report.notes].map(noteText),
  ];
}

// The experiments of the LoRA paper in small. They use the public surface of the library alone.
export type { Claim, Experiment, Figure, Findings, Heat, Table, Verdict } from "./experiment.ts";
export { SIZES, type Size } from "./lab/sizes.ts";
export { type PaperEvent, type PaperOptions, runPaper } from "./run.ts";
export { EXPERIMENTS } from "./table.ts";

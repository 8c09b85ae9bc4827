import type { StepErrors } from "./measure.ts";

/** What the process of a check tells before it ends. */
export type CheckReport =
  | { readonly type: "checked"; readonly checked: Checked }
  | { readonly type: "failed"; readonly message: string };

/** A device that computed the step. */
export interface Checked {
  readonly errors: StepErrors;
  /** Chains of products on the CPU and on the device: the fastest of a few. */
  readonly cpuMs: number;
  readonly deviceMs: number;
  /** Files of GPUs' drivers (/dev/dri/renderD128) that it held open; null where that cannot be seen. */
  readonly driverFiles: readonly string[] | null;
}

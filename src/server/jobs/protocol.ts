import type { TrainConfig } from "../../train/config/config.ts";
import type { ProcessIdentity } from "../../train/process.ts";
import type { KeptEvent } from "./thinned.ts";

/** What a server tells the process of a job. */
export type Order =
  | {
      readonly type: "train";
      readonly config: TrainConfig;
      readonly isResumed: boolean;
      /** Memory that it may take. */
      readonly limitBytes: number;
    }
  /** Write a checkpoint and end. */
  | { readonly type: "stop" };

/** What the process tells its server. It says first who it is, and trains only when it is told to: so no process that its server has
 *  not written down ever does anything. */
export type Report =
  | { readonly type: "hello"; readonly identity: ProcessIdentity }
  | { readonly type: "event"; readonly event: KeptEvent }
  /** What the process takes. */
  | { readonly type: "memory"; readonly residentBytes: number }
  | { readonly type: "error"; readonly code: string; readonly message: string };

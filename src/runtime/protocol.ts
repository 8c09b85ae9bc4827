import type { LoadRequest, RunOptions, Tensors } from "./backend.ts";
import type { Device } from "./devices/table.ts";

/** Requests to the thread that owns the execution engine: `open` first, then the calls of `Backend` and its sessions. */
export type Request =
  | { readonly kind: "open"; readonly device: Device; readonly threads: number }
  | { readonly kind: "load"; readonly session: number; readonly load: LoadRequest }
  | {
      readonly kind: "run";
      readonly session: number;
      readonly feeds: Tensors;
      readonly options: RunOptions;
    }
  | { readonly kind: "resize"; readonly shapes: Readonly<Record<string, readonly number[]>> }
  | { readonly kind: "put"; readonly tensors: Tensors }
  | {
      readonly kind: "copyRow";
      readonly names: readonly string[];
      readonly from: number;
      readonly to: number;
    }
  | { readonly kind: "drop"; readonly names: readonly string[] }
  | { readonly kind: "get"; readonly names: readonly string[] }
  | { readonly kind: "endProfile"; readonly session: number }
  | { readonly kind: "unload"; readonly session: number };

/** What the thread answers. */
export type Reply =
  | { readonly id: number; readonly ok: true; readonly tensors: Tensors }
  | {
      readonly id: number;
      readonly ok: false;
      readonly message: string;
      /** The device is not there: not a failure of the graph. */
      readonly isUnsupported: boolean;
    };

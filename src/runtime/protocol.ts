import type { Tensor } from "../tensor/tensor.ts";
import type { Device } from "./device.ts";

/** A stretch of kept vectors [n], elements [from, to). */
export interface KeptPart {
  readonly names: readonly string[];
  readonly from: number;
  readonly to: number;
}

/** Requests to the worker thread that owns the execution engine. */
export type Request =
  | {
      readonly kind: "load";
      readonly session: number;
      readonly path: string;
      readonly device: Device;
      readonly threads: number;
      readonly deterministic: boolean;
      readonly profile: string | null;
      readonly prepack: boolean;
      readonly arena: boolean;
    }
  | {
      readonly kind: "run";
      readonly session: number;
      readonly feeds: Readonly<Record<string, Tensor>>;
      readonly inputs: readonly string[];
      readonly fetch: readonly string[];
      readonly carry: Readonly<Record<string, string>>;
      readonly carryIf: string | null;
      readonly append: Readonly<Record<string, string>>;
      readonly inPlace: Readonly<Record<string, string>>;
      readonly part: KeptPart | null;
      readonly insert: Readonly<Record<string, string>>;
      readonly at: readonly number[];
    }
  | { readonly kind: "resize"; readonly shapes: Readonly<Record<string, readonly number[]>> }
  | { readonly kind: "put"; readonly tensors: Readonly<Record<string, Tensor>> }
  | { readonly kind: "drop"; readonly names: readonly string[] }
  | { readonly kind: "get"; readonly names: readonly string[] }
  | { readonly kind: "endProfile"; readonly session: number }
  | { readonly kind: "unload"; readonly session: number };

/** What the worker answers. */
export type Reply =
  | { readonly id: number; readonly ok: true; readonly tensors: Readonly<Record<string, Tensor>> }
  | {
      readonly id: number;
      readonly ok: false;
      readonly message: string;
      /** The device is not there: not a failure of the graph. */
      readonly isUnsupported: boolean;
    };

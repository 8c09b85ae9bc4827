import type { BrowserDevice, DirectoryHandle, PreviewSpan, TrainEvent } from "lowrank/browser";

/** Where a model comes from. */
export type ModelChoice =
  | { readonly kind: "files"; readonly files: readonly File[] }
  | { readonly kind: "folder"; readonly handle: DirectoryHandle }
  | { readonly kind: "url"; readonly url: string; readonly name?: string | undefined };

export interface Settings {
  readonly maxSteps: number;
  readonly batchSize: number;
  readonly learningRate: number;
  readonly rank: number;
}

/** What the page asks of its worker. */
export type Request =
  | {
      readonly kind: "open";
      readonly model: ModelChoice;
      readonly device: BrowserDevice;
      readonly file: File | null;
    }
  | { readonly kind: "preview"; readonly file: File }
  | { readonly kind: "train"; readonly file: File; readonly settings: Settings }
  | { readonly kind: "stop" }
  | { readonly kind: "compare"; readonly prompt: string }
  | { readonly kind: "adapter" };

export interface ModelFacts {
  readonly name: string;
  readonly device: BrowserDevice;
  readonly threads: number;
  readonly architecture: string;
  readonly layers: number;
}

/** What the worker says. `done` ends what was asked last. */
export type Reply =
  | {
      readonly kind: "progress";
      readonly what: string;
      readonly doneBytes: number;
      readonly totalBytes: number | null;
    }
  | { readonly kind: "opened"; readonly facts: ModelFacts }
  | { readonly kind: "rows"; readonly rows: readonly PreviewSpan[][] }
  | { readonly kind: "event"; readonly event: TrainEvent }
  | { readonly kind: "answer"; readonly of: "base" | "adapter"; readonly text: string }
  | { readonly kind: "adapter"; readonly files: Readonly<Record<string, Uint8Array<ArrayBuffer>>> }
  | { readonly kind: "error"; readonly message: string }
  | { readonly kind: "done" };

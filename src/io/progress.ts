/** Progress of a long read, write or download. `totalBytes` is null when unknown. */
export interface Progress {
  readonly what: string;
  readonly doneBytes: number;
  readonly totalBytes: number | null;
}

/** Receives progress; the library itself never prints. */
export type OnProgress = (progress: Progress) => void;

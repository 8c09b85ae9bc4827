/** What the dashboard's page reads. The page takes these types from here, so nothing is imported. null: not known. */
export interface DashboardStatus {
  readonly base: string;
  /** Tokens. */
  readonly contextLength: number;
  /** Whether the server was started with --adapters. */
  readonly hasFolders: boolean;
  readonly load: ServerLoad;
  readonly adapters: readonly AdapterInfo[];
  /** Those that run first, then by the time of their last change. */
  readonly runs: readonly RunInfo[];
  /** Older ones that are not listed. */
  readonly runsLeftOut: number;
  /** null: the server takes none. */
  readonly jobs: JobList | null;
}

export interface ServerLoad {
  /** Requests. */
  readonly running: number;
  readonly waiting: number;
  /** Since the start. */
  readonly promptTokens: number;
  readonly generatedTokens: number;
  /** Of the process. */
  readonly memoryBytes: number;
  readonly uptimeMs: number;
}

export interface AdapterInfo {
  readonly name: string;
  readonly methods: readonly string[];
  /** As its configuration states it; single modules may have another one. */
  readonly rank: number | null;
  readonly parameters: number;
  readonly sizeBytes: number | null;
  /** The data, as its run or its card names them. */
  readonly trainedOn: string | null;
  readonly examples: number | null;
  readonly lossBefore: number | null;
  readonly lossAfter: number | null;
}

export interface JobList {
  /** The newest first. */
  readonly list: readonly JobInfo[];
  /** Older ones that are not listed. */
  readonly leftOut: number;
}

/** A fine-tuning job. */
export interface JobInfo {
  readonly id: string;
  /** Of its run folder and its model: the suffix, or the id. */
  readonly name: string;
  readonly status: "queued" | "running" | "paused" | "succeeded" | "failed" | "cancelled";
  readonly base: string;
  /** Name of the uploaded file. */
  readonly file: string | null;
  /** Milliseconds since 1970. */
  readonly createdMs: number;
  /** The model that it made. */
  readonly model: string | null;
  readonly error: string | null;
  /** null: it has not begun. */
  readonly run: RunInfo | null;
}

export interface RunInfo {
  readonly id: string;
  readonly name: string;
  readonly state: "running" | "finished" | "stopped";
  readonly method: string | null;
  readonly model: string | null;
  readonly data: string | null;
  /** 0: none yet. */
  readonly step: number;
  readonly steps: number | null;
  /** Tokens with a loss on them in the steps so far. */
  readonly trainedTokens: number;
  /** Of the last step. */
  readonly loss: number | null;
  readonly tokensPerSecond: number | null;
  readonly etaMs: number | null;
  /** Changes whenever its log or its state does. */
  readonly version: string;
}

/** Step, loss. */
export type CurvePoint = readonly [number, number];

export interface RunCurve {
  readonly id: string;
  readonly lossUnit: string;
  readonly training: readonly CurvePoint[];
  readonly smoothed: readonly CurvePoint[];
  readonly validation: readonly CurvePoint[];
  readonly test: readonly CurvePoint[];
}

/** A training option as the page's form shows it. */
export interface JobOption {
  /** Its name in config files. */
  readonly key: string;
  /** Heading in help texts: "Data", … */
  readonly group: string;
  readonly description: string;
  readonly isNumber: boolean;
  /** null: any value. */
  readonly choices: readonly string[] | null;
  /** What stands for no value; null: there is always one. */
  readonly defaultText: string | null;
  /** Methods that have it; null: it is no method's. */
  readonly methods: readonly string[] | null;
}

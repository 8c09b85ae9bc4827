// Types alone, and nothing imported: the dashboard's page takes them from here.

/** What a job would do, asked for before it is made. */
export interface JobPreview {
  readonly object: "fine_tuning.job.preview";
  readonly model: string;
  readonly training_file: string;
  readonly validation_file: string | null;
  /** Options as the job would have them, by their names in config files. */
  readonly lowrank: Readonly<Record<string, unknown>>;
  /** What is wrong with the files, the first few; there is no plan then. */
  readonly problems: readonly PreviewProblem[];
  /** Further ones, which are counted only. */
  readonly problems_left_out: number;
  /** null: the files cannot be trained on. */
  readonly plan: PreviewPlan | null;
  /** The first examples as the model reads them. */
  readonly examples: readonly (readonly PreviewPiece[])[];
  readonly warnings: readonly string[];
}

export interface PreviewProblem {
  readonly file: "training_file" | "validation_file";
  /** "line 3", or "file". */
  readonly where: string;
  /** OpenAI's name for it; null: it has none. */
  readonly code: string | null;
  readonly message: string;
}

export interface PreviewPlan {
  readonly method: string;
  /** Which modules are adapted, and how many of each kind there are. */
  readonly trained: readonly { readonly name: string; readonly count: number }[];
  /** Numbers. */
  readonly trainable_parameters: number;
  /** Of the base and its adapter. */
  readonly total_parameters: number;
  readonly examples: number;
  readonly validation_examples: number;
  /** Examples cut to the longest length. */
  readonly truncated: number;
  /** Examples left out because they do not fit it. */
  readonly dropped: number;
  /** Tokens of one pass over the examples: as padded rectangles, and those that are computed once what begins alike is shared. */
  readonly padded_tokens_per_epoch: number;
  readonly packed_tokens_per_epoch: number;
  /** Tokens with a loss on them, over all passes. */
  readonly trained_tokens: number;
  readonly steps: number;
  readonly steps_per_epoch: number;
  /** Of the steps, by the speed of this machine as it was just measured; null: not known. */
  readonly estimated_seconds: number | null;
  /** Estimated, at its peak. */
  readonly memory_bytes: number;
  readonly adapter_bytes: number;
}

/** A part of an example's text. */
export interface PreviewPiece {
  readonly text: string;
  /** Whether it is learned; what is not is read only. */
  readonly is_label: boolean;
  /** Offsets between tokens of text that looks like a special token and is none. */
  readonly cuts: readonly number[];
}

/** A piece of a decoded example: `isLabel` where the loss counts. */
export interface PreviewSpan {
  readonly text: string;
  readonly isLabel: boolean;
  /** Offsets between tokens of text that looks like a special token and is none. */
  readonly cuts?: readonly number[];
}

/** A prompt, what the data says, and what the model says. */
export interface Sample {
  readonly prompt: string;
  readonly reference: string;
  readonly output: string;
}

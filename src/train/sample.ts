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
  /** Other answers that are as good, where the data have some. */
  readonly others?: readonly string[];
  readonly output: string;
}

/** The texts that an answer is compared with, without white space at their ends. */
export function referencesOf({ reference, others = [] }: Sample): readonly string[] {
  return [reference, ...others].map((text) => text.trim());
}

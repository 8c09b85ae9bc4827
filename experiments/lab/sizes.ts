/** How much is measured. */
export interface Size {
  readonly name: "quick" | "default" | "full";
  /** What it is, for people. */
  readonly summary: string;
  readonly seeds: readonly number[];
  /** Tasks that methods are compared on. */
  readonly tasks: number;
  /** Training examples of a cell. */
  readonly examples: number;
  readonly epochs: number;
  readonly batchSize: number;
  /** Held-out rows that the loss is measured on. */
  readonly lossRows: number;
  /** Held-out rows that are answered. */
  readonly answerRows: number;
  readonly maxTokens: number;
  /** Factors on a method's usual learning rate that are tried on validation rows; one alone: it is not chosen. */
  readonly rateFactors: readonly number[];
  /** Numbers of examples for the question of little data. */
  readonly lowData: readonly number[];
  /** Ranks for the question of the rank. */
  readonly ranks: readonly number[];
  /** Layers that are analysed, of so many one. */
  readonly layerStride: number;
  /** α and learning rates of a grid, from the smallest product to the largest. */
  readonly alphas: readonly number[];
  readonly alphaRates: readonly number[];
  /** Timed repetitions. */
  readonly repetitions: number;
}

/** Every size, by name. */
export const SIZES: Readonly<Record<Size["name"], Size>> = {
  quick: {
    name: "quick",
    summary: "one seed and few examples: shows how it works, decides nothing",
    seeds: [0],
    tasks: 1,
    examples: 32,
    epochs: 1,
    batchSize: 8,
    lossRows: 12,
    answerRows: 4,
    maxTokens: 40,
    rateFactors: [1],
    lowData: [8, 32],
    ranks: [1, 64],
    layerStride: 6,
    alphas: [8, 32],
    alphaRates: [5e-4, 2e-3],
    repetitions: 3,
  },
  default: {
    name: "default",
    summary: "three seeds, learning rates chosen on validation rows",
    seeds: [0, 1, 2],
    tasks: 2,
    examples: 128,
    epochs: 1,
    batchSize: 8,
    lossRows: 60,
    answerRows: 40,
    maxTokens: 64,
    rateFactors: [1, 3, 10],
    lowData: [16, 48, 128],
    ranks: [1, 2, 4, 8, 64],
    layerStride: 1,
    alphas: [8, 16, 32],
    alphaRates: [5e-4, 1e-3, 2e-3],
    repetitions: 20,
  },
  full: {
    name: "full",
    summary: "five seeds, all the examples",
    seeds: [0, 1, 2, 3, 4],
    tasks: 2,
    examples: 900,
    epochs: 2,
    batchSize: 8,
    lossRows: 100,
    answerRows: 100,
    maxTokens: 96,
    rateFactors: [0.3, 1, 3, 10],
    lowData: [100, 300, 900],
    ranks: [1, 2, 4, 8, 16, 64],
    layerStride: 1,
    alphas: [8, 16, 32],
    alphaRates: [5e-4, 1e-3, 2e-3],
    repetitions: 50,
  },
};

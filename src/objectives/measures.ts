/** What a model's predictions on examples are worth. Which of them there are follows from the task. */
export interface Measures {
  /** exp(loss). */
  readonly perplexity?: number;
  /** Share of label tokens whose most likely prediction is right, 0 to 1. */
  readonly tokenAccuracy?: number;
  /** Share of examples whose most likely label is right, 0 to 1. */
  readonly accuracy?: number;
  /** F1 of the second of two labels, 0 to 1. */
  readonly f1?: number;
  /** Mean of the labels' F1, over those that occur or are predicted, 0 to 1. */
  readonly f1Macro?: number;
  /** Matthews' correlation coefficient (of several labels: Gorodkin 2004), −1 to 1. */
  readonly matthews?: number;
  /** Correlation of predicted and given values, −1 to 1; missing where either are all the same. */
  readonly pearson?: number;
  /** Correlation of their ranks. */
  readonly spearman?: number;
}

/** How a measure is shown. */
export interface MeasureInfo {
  readonly key: keyof Measures;
  readonly title: string;
  readonly text: (value: number) => string;
}

const share = (value: number): string => `${(value * 100).toFixed(1)}%`;
const decimals = (digits: number) => (value: number) => value.toFixed(digits);

/** Every measure, one line each, in the order in which they are shown. */
export const MEASURES: readonly MeasureInfo[] = [
  { key: "perplexity", title: "Perplexity", text: decimals(2) },
  { key: "tokenAccuracy", title: "Token accuracy", text: share },
  { key: "accuracy", title: "Accuracy", text: share },
  { key: "f1", title: "F1", text: decimals(4) },
  { key: "f1Macro", title: "F1 (macro)", text: decimals(4) },
  { key: "matthews", title: "Matthews correlation", text: decimals(4) },
  { key: "pearson", title: "Pearson correlation", text: decimals(4) },
  { key: "spearman", title: "Spearman correlation", text: decimals(4) },
];

/** The measures that are there: title and value as text. */
export function measureTexts(measures: Measures): readonly (readonly [title: string, value: string])[] {
  return MEASURES.flatMap(({ key, title, text }) => {
    const value = measures[key];
    return value === undefined ? [] : [[title, text(value)] as const];
  });
}

/** Ids so far, prompt included. */
export type History = readonly number[] | Int32Array;

/** What is added to logits, and taken from them, because of the request and of the text so far. */
export interface PenaltyOptions {
  /** Above 1: tokens of the history become less likely (their logit is divided if positive, else multiplied).
   *  Default 1. */
  readonly repetitionPenalty?: number;
  /** −2 to 2: subtracted from a token's logit as often as it was generated (not: as it stands in the prompt). Default 0. */
  readonly frequencyPenalty?: number;
  /** −2 to 2: subtracted once from the logit of every token that was generated. Default 0. */
  readonly presencePenalty?: number;
  /** Token id → −100 to 100: added to its logit. −100 all but forbids a token, 100 all but forces it. Default: none. */
  readonly logitBias?: Readonly<Record<number, number>>;
}

/** None of them changes a logit. */
export function isNeutral(o: Required<PenaltyOptions>): boolean {
  if (o.repetitionPenalty !== 1 || o.frequencyPenalty !== 0 || o.presencePenalty !== 0) return false;
  for (const _ in o.logitBias) return false;
  return true;
}

/** Changes scores [vocab] in place, in the order of vLLM: bias, repetition penalty (of the whole history), frequency and
 *  presence penalty (of what follows its first `promptLength` ids). Ids beyond the vocabulary (virtual tokens) count for nothing. */
export function penalize(
  scores: Float32Array,
  history: History,
  promptLength: number,
  { logitBias, repetitionPenalty, frequencyPenalty, presencePenalty }: Required<PenaltyOptions>,
): void {
  const change = (id: number, by: (score: number) => number): void => {
    const score = scores[id];
    if (score !== undefined) scores[id] = by(score);
  };
  for (const id in logitBias) change(Number(id), (score) => score + (logitBias[id] as number));
  if (repetitionPenalty !== 1) {
    const repeated = (score: number): number =>
      score < 0 ? score * repetitionPenalty : score / repetitionPenalty;
    for (const id of new Set(history)) change(id, repeated);
  }
  if (frequencyPenalty === 0 && presencePenalty === 0) return;
  for (const [id, count] of countsOf(history, promptLength))
    change(id, (score) => score - count * frequencyPenalty - presencePenalty);
}

function countsOf(history: History, from: number): ReadonlyMap<number, number> {
  const counts = new Map<number, number>();
  for (let i = from; i < history.length; i++) {
    const id = history[i] as number;
    counts.set(id, (counts.get(id) ?? 0) + 1);
  }
  return counts;
}

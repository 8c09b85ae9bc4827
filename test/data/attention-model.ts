import { type Random, random } from "../../src/tensor/random.ts";

/** A causal language model small enough to read, in float64: embeddings of token and position, one self-attention
 *  layer with a residual, a linear head. What a token may attend to is given by `visible`. */
export interface AttentionModel {
  readonly vocabSize: number;
  /** Log probabilities [n][vocab] of the token after each of n tokens. */
  logProbs(
    tokens: readonly number[],
    positions: readonly number[],
    visible: (query: number, key: number) => boolean,
  ): number[][];
}

type Matrix = readonly (readonly number[])[];

const dot = (a: readonly number[], b: readonly number[]): number =>
  a.reduce((sum, x, i) => sum + x * (b[i] as number), 0);
const timesEach = (m: Matrix, xs: Matrix): Matrix => xs.map((x) => times(m, x));
const times = (m: Matrix, x: readonly number[]): number[] => m.map((row) => dot(row, x));

/** A model with normal random weights. */
export function attentionModel(vocabSize: number, maxPositions: number, seed: number): AttentionModel {
  const width = 6;
  const rng = random(seed, "attention model");
  const projection = (): Matrix => matrix(width, width, rng);
  const [wq, wk, wv, wo] = [projection(), projection(), projection(), projection()];
  const embedding = matrix(vocabSize, width, rng);
  const position = matrix(maxPositions, width, rng);
  const head = matrix(vocabSize, width, rng);
  return {
    vocabSize,
    logProbs(tokens, positions, visible) {
      const x = tokens.map((token, i) =>
        (embedding[token] as number[]).map((e, d) => e + (position[positions[i] as number]?.[d] as number)),
      );
      const [q, k, v] = [timesEach(wq, x), timesEach(wk, x), timesEach(wv, x)];
      return x.map((row, i) => {
        const keys = tokens.map((_, j) => j).filter((j) => visible(i, j));
        const scores = keys.map((j) => Math.exp(dot(q[i] as number[], k[j] as number[]) / Math.sqrt(width)));
        const total = scores.reduce((sum, s) => sum + s, 0);
        const mixed = row.map((_, d) =>
          keys.reduce((sum, j, at) => sum + ((scores[at] as number) / total) * (v[j]?.[d] as number), 0),
        );
        const hidden = times(wo, mixed).map((h, d) => h + (row[d] as number));
        return logSoftmax(times(head, hidden));
      });
    },
  };
}

function matrix(rows: number, columns: number, rng: Random): Matrix {
  return Array.from({ length: rows }, () => Array.from({ length: columns }, () => rng.normal() * 0.5));
}

function logSoftmax(logits: readonly number[]): number[] {
  const top = Math.max(...logits);
  const total = logits.reduce((sum, l) => sum + Math.exp(l - top), 0);
  return logits.map((l) => l - top - Math.log(total));
}

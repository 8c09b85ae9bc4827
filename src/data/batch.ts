/** Token ids, and for each token whether predicting it counts. */
export interface Sequence {
  /** [length] token ids: prompt, completion, end-of-turn. */
  readonly ids: Int32Array;
  /** [length] 1 where the token is a label (predicted from those before it), 0 for prompt tokens. Index 0 is always 0. */
  readonly isLabel: Uint8Array;
  /** Where the first answer begins, if that is not the first label (loss on everything, answers that are read only). */
  readonly answerStart?: number;
}

/** What a batch counts as one: a training sequence, or the several of a conversation. */
export interface Example extends Sequence {
  /** Sequences beside this one, in the same batch: earlier turns of the conversation, where its template writes them otherwise once
   *  others follow. They share what they begin with. */
  readonly branches?: readonly Sequence[];
  /** Index of this example in its data set. */
  readonly index: number;
  /** [length] which sequence of a pair each token is of, 0 or 1 (encoders). */
  readonly types?: Uint8Array;
  /** What the whole sequence is to be told as: the index of a label, or a value (encoders). */
  readonly target?: number;
}

/** All sequences of an example. */
export function sequencesOf({ branches, ...own }: Pick<Example, "branches"> & Sequence): readonly Sequence[] {
  return branches === undefined ? [own] : [...branches, own];
}

/** Tokens of an example that are learned. */
export function countLabels(isLabel: Uint8Array): number {
  return isLabel.reduce((n, label) => n + label, 0);
}

/** A packed trie of examples (design: "The batch"): R rows × T tokens in depth-first order. */
export interface PackedBatch {
  /** R. */
  readonly rows: number;
  /** T: tokens per row, a bucket size; rows are filled up with padding nodes that see only themselves
   *  (behind a stem its first token too). */
  readonly length: number;
  /** P: tokens that all examples begin with, the first of the first row; every other row's tokens see them too. 0 where rows are
   *  whole tries. */
  readonly stem: number;
  /** [R·T] token ids. */
  readonly tokens: Int32Array;
  /** [R·T] depth of each node: its position. */
  readonly positions: Int32Array;
  /** [R·T] end of each node's subtree as an index in its row: token i of a row may attend to j iff j ≤ i < end[j]. In a batch of whole
   *  sequences, the end of the token's sequence: i may attend to j iff their ends are the same. */
  readonly ends: Int32Array;
  /** [E] flat node index (row·T + column) each edge starts from. */
  readonly edgeNodes: Int32Array;
  /** [E] token id the edge leads to. */
  readonly edgeLabels: Int32Array;
  /** [E] number of sequences that take the edge with a loss on it (or what an objective makes of them); 0 for padding edges. */
  readonly edgeWeights: Float32Array;
  /** [R·T] which sequence of a pair each token is of; missing where nobody asks. */
  readonly types?: Int32Array;
  /** [E] values that edges lead to, where these are no labels. */
  readonly edgeTargets?: Float32Array;
  /** Label tokens in the batch. */
  readonly labelCount: number;
  /** Indices of the examples in this batch. */
  readonly examples: readonly number[];
  /** Nodes in the trie, padding not counted. */
  readonly trieTokens: number;
  /** Tokens a padded rectangle would have had: examples × longest. */
  readonly paddedTokens: number;
  /** Edges with a loss on them of each sequence, where they were asked for (`PackOptions.traced`). */
  readonly paths?: readonly EdgePath[];
}

/** Where the labels of a sequence are in its batch. */
export interface EdgePath {
  /** Index of its example. */
  readonly example: number;
  /** Indices of its edges. */
  readonly edges: Int32Array;
}

/** The batch with each sequence's labels counted `weights` times, in the order of its paths. */
export function weighted(batch: PackedBatch, weights: readonly number[]): PackedBatch {
  const edgeWeights = new Float32Array(batch.edgeWeights.length);
  batch.paths?.forEach(({ edges }, s) => {
    for (const e of edges) (edgeWeights[e] as number) += weights[s] as number;
  });
  return { ...batch, edgeWeights };
}

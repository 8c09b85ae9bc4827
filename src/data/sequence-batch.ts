import type { Example, PackedBatch } from "./batch.ts";
import {
  checkPositive,
  chooseLength,
  emptyNodes,
  type PackOptions,
  paddedSize,
  type RowGroup,
  type Stretch,
} from "./trie.ts";

/** An example whose tokens all see each other: nothing of it can be shared. */
interface Sequence extends Stretch {
  readonly example: Example;
  readonly shared: 0;
}

/** Packs whole sequences into R rows × T tokens, each of them visible to itself alone (its tokens have one end), positions from
 *  0. One edge per example: from its first token to its target. Loss and gradient are those of the padded batch.
 *  @throws InputError if rows, bucket or edgeBucket is not a positive integer */
export function packSequences(examples: readonly Example[], options: PackOptions = {}): PackedBatch {
  const { rows = "auto", bucket = 32, edgeBucket = 32 } = options;
  checkPositive({ bucket, edgeBucket, ...(rows === "auto" ? {} : { rows }) });
  const sequences = examples.map((example): Sequence => ({ example, length: example.ids.length, shared: 0 }));
  sequences.sort((a, b) => b.length - a.length);
  const length = chooseLength(sequences, options, 0, firstFit);
  const groups = firstFit(sequences, length).map(({ paths }) => paths);
  const rowCount = rows === "auto" ? Math.max(1, groups.length) : rows;
  const nodes = { ...emptyNodes(rowCount, length), types: new Int32Array(rowCount * length) };
  const starts = groups.flatMap((group, row) => fillRow(group, row, length, nodes));
  return {
    rows: rowCount,
    length,
    stem: 0,
    ...nodes,
    ...edgesOf(groups.flat(), starts, edgeBucket),
    ...(options.traced && {
      paths: groups.flat().map(({ example }, e) => ({ example: example.index, edges: Int32Array.of(e) })),
    }),
    labelCount: examples.length,
    examples: examples.map((example) => example.index),
    trieTokens: sequences.reduce((n, s) => n + s.length, 0),
    paddedTokens: paddedSize(examples),
  };
}

/** Each sequence into the first row that has room for it, the longest first. */
function firstFit(sequences: readonly Sequence[], length: number): RowGroup<Sequence>[] {
  const rows: RowGroup<Sequence>[] = [];
  for (const sequence of sequences) {
    const row = rows.find(({ used }) => used + sequence.length <= length);
    if (row) {
      row.paths.push(sequence);
      row.used += sequence.length;
    } else rows.push({ used: sequence.length, paths: [sequence] });
  }
  return rows;
}

type Nodes = Pick<PackedBatch, "tokens" | "positions" | "ends"> & { readonly types: Int32Array };

/** Lays sequences out one after the other; gives the node of each one's first token. */
function fillRow(group: readonly Sequence[], row: number, length: number, nodes: Nodes): number[] {
  let used = 0;
  return group.map(({ example: { ids, types } }) => {
    const start = row * length + used;
    used += ids.length;
    nodes.tokens.set(ids, start);
    if (types) nodes.types.set(types, start);
    nodes.ends.fill(used, start, start + ids.length);
    for (let i = 0; i < ids.length; i++) nodes.positions[start + i] = i;
    return start;
  });
}

/** Edges in the order of `sequences`; filled up with edges of weight 0. */
function edgesOf(
  sequences: readonly Sequence[],
  starts: readonly number[],
  bucket: number,
): Pick<PackedBatch, "edgeNodes" | "edgeLabels" | "edgeTargets" | "edgeWeights"> {
  const size = Math.max(1, Math.ceil(sequences.length / bucket)) * bucket;
  const targets = sequences.map(({ example }) => example.target ?? 0);
  const filled = <A extends Int32Array | Float32Array>(array: A, values: readonly number[]): A => {
    array.set(values);
    return array;
  };
  return {
    edgeNodes: filled(new Int32Array(size), starts),
    edgeLabels: filled(new Int32Array(size), targets.map(Math.trunc)),
    edgeTargets: filled(new Float32Array(size), targets),
    edgeWeights: new Float32Array(size).fill(1, 0, sequences.length),
  };
}

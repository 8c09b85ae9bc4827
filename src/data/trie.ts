import { InputError } from "../errors.ts";
import type { ModelConfig } from "../formats/model.ts";
import { type EdgePath, type Example, type PackedBatch, sequencesOf } from "./batch.ts";

/** Work per token and per pair of tokens that attention computes, in any common unit: a row of T tokens costs
 *  T·perToken + T·(P+T)·perTokenPair, P being tokens of the batch's stem. */
export interface PackingCosts {
  readonly perToken: number;
  readonly perTokenPair: number;
}

export interface PackOptions {
  /** R, or "auto" (default): the number for which R·(T·perToken + T·(P+T)·perTokenPair) is least. */
  readonly rows?: number | "auto" | undefined;
  /** T is a multiple of this; default 32. */
  readonly bucket?: number | undefined;
  /** E is a multiple of this; default 32. */
  readonly edgeBucket?: number | undefined;
  /** Default: a model of SmolLM2-135M's size. */
  readonly costs?: PackingCosts | undefined;
  /** What all examples begin with is in the first row only (PackedBatch.stem); default false. */
  readonly stem?: boolean | undefined;
  /** The batch says which edges each sequence takes (PackedBatch.paths); default false. */
  readonly traced?: boolean | undefined;
}

/** A pair of tokens takes so much longer than its FLOPs do in a linear layer: products over few columns, softmax, masks. */
const PAIR_OVERHEAD = 2;

/** Forward FLOPs of a decoder: 2 per weight and token in the linear layers, and in attention 2·width each for the
 *  score and for the weighted sum of a pair of tokens, times what such a FLOP takes longer. (The backward pass is a constant
 *  factor on both.) */
export function packingCosts(
  model: Pick<ModelConfig, "layerCount" | "hiddenSize" | "headCount" | "kvHeadCount" | "headDim" | "mlpSize">,
): PackingCosts {
  const width = model.headCount * model.headDim;
  const attention = model.hiddenSize * (2 * width + 2 * model.kvHeadCount * model.headDim);
  const mlp = 3 * model.hiddenSize * model.mlpSize;
  return {
    perToken: model.layerCount * 2 * (attention + mlp),
    perTokenPair: PAIR_OVERHEAD * model.layerCount * 4 * width,
  };
}

const DEFAULT_COSTS: PackingCosts = packingCosts({
  layerCount: 30,
  hiddenSize: 576,
  headCount: 9,
  kvHeadCount: 3,
  headDim: 64,
  mlpSize: 1536,
});

/** An example's nodes, in sorted order of all. */
export interface Stretch {
  /** Nodes on the path. */
  readonly length: number;
  /** Nodes shared with the path before it in sorted order. */
  readonly shared: number;
}

/** Stretches that go into one row, and how many nodes they take there. */
export interface RowGroup<S extends Stretch> {
  readonly paths: S[];
  used: number;
}

/** An example as a path from the root. Nothing is predicted from its last label, nor from what follows it, so these
 *  need no node. */
interface Path extends Stretch {
  readonly ids: Int32Array;
  readonly isLabel: Uint8Array;
  /** Index of its example. */
  readonly example: number;
}

/** Packs examples into R rows × T tokens, each row a trie in depth-first order (design: "The batch"). Examples are
 *  sorted by their tokens, and each goes where it shares most, so prefixes are shared within a row; what all of them share is in
 *  the first row alone, if `stem` says so. Loss and gradient are those of the padded batch. Same examples, same batch.
 *  @throws InputError if rows, bucket or edgeBucket is not a positive integer. */
export function packTrie(examples: readonly Example[], options: PackOptions = {}): PackedBatch {
  const { rows = "auto", bucket = 32, edgeBucket = 32 } = options;
  checkPositive({ bucket, edgeBucket, ...(rows === "auto" ? {} : { rows }) });
  const paths = sortedPaths(examples);
  const common = options.stem ? sharedByAll(paths) : 0;
  const length = chooseLength(paths, options, common, (all, size) => fillRows(all, size, common));
  const groups = fillRows(paths, length, common);
  const rowCount = rows === "auto" ? Math.max(1, groups.length) : rows;
  const stem = groups.length > 1 ? common : 0;
  const nodes = emptyNodes(rowCount, length);
  const edges: EdgeWeights = new Map();
  const traces: Trace[] | null = options.traced ? [] : null;
  groups.forEach((group, row) => {
    layRow(group.paths, row * length, row === 0 ? 0 : stem, nodes, edges, traces);
  });
  return {
    rows: rowCount,
    length,
    stem,
    ...nodes,
    ...edgeArrays(edges, edgeBucket),
    ...(traces && { paths: pathsOf(traces, edges) }),
    examples: examples.map((example) => example.index),
    trieTokens: groups.reduce((n, group) => n + group.used, 0),
    paddedTokens: paddedSize(examples),
  };
}

/** Tokens of the rectangle that would hold the examples: count × longest. */
export function paddedSize(examples: readonly Example[]): number {
  const lengths = examples.flatMap((example) => sequencesOf(example).map(({ ids }) => ids.length));
  return lengths.length * lengths.reduce((longest, length) => Math.max(longest, length), 0);
}

/** Nodes of the trie of all examples in one row. */
export function trieSize(examples: readonly Example[]): number {
  return sortedPaths(examples).reduce((size, path) => size + path.length - path.shared, 0);
}

/** @throws InputError naming the packing options that are no positive integers */
export function checkPositive(values: Readonly<Record<string, number>>): void {
  const problems = Object.entries(values)
    .filter(([, value]) => !Number.isInteger(value) || value < 1)
    .map(([where, value]) => ({ where, message: `expected a positive integer, got ${value}` }));
  if (problems.length > 0) throw new InputError("Invalid packing options", problems);
}

function sortedPaths(examples: readonly Example[]): Path[] {
  const paths = examples.flatMap((example) =>
    sequencesOf(example).map(({ ids, isLabel }) => ({
      ids,
      isLabel,
      length: Math.max(0, isLabel.lastIndexOf(1)),
      shared: 0,
      example: example.index,
    })),
  );
  paths.sort(compareTokens);
  return paths.map((path, i) => {
    const before = paths[i - 1];
    return before === undefined ? path : { ...path, shared: sharedLength(before, path) };
  });
}

/** The first `length` of some tokens. */
interface Tokens {
  readonly ids: Int32Array;
  readonly length: number;
}

/** Lexicographic; a prefix comes before what extends it. */
export function compareTokens(a: Tokens, b: Tokens): number {
  const shared = sharedLength(a, b);
  const ends = shared === Math.min(a.length, b.length);
  return ends ? a.length - b.length : (a.ids[shared] as number) - (b.ids[shared] as number);
}

function sharedLength(a: Tokens, b: Tokens): number {
  const limit = Math.min(a.length, b.length);
  let i = 0;
  while (i < limit && a.ids[i] === b.ids[i]) i++;
  return i;
}

/** Rows that are free to be shorter are: what longer ones would share is little, and attention costs T². */
const LONGEST_FREE_ROW = 1024;

/** Tokens of the longest row that packing makes of examples of up to `longest` tokens, bucket apart. */
export function longestRow(longest: number): number {
  return Math.max(longest, LONGEST_FREE_ROW);
}

/** T: the multiple of the bucket with the least cost, or the first that fits into a given number of rows. `stem`: tokens that
 *  rows see beside their own, if there are several. `fill` fills rows. */
export function chooseLength<S extends Stretch>(
  paths: readonly S[],
  { rows = "auto", bucket = 32, costs = DEFAULT_COSTS }: PackOptions,
  stem: number,
  fill: (paths: readonly S[], length: number) => readonly RowGroup<S>[],
): number {
  const toBucket = (tokens: number): number => Math.max(1, Math.ceil(tokens / bucket)) * bucket;
  const longest = paths.reduce((n, path) => Math.max(n, path.length), 0);
  const total = paths.reduce((n, path) => n + path.length - path.shared, 0);
  const most = toBucket(rows === "auto" ? Math.min(total, longestRow(longest)) : total);
  let best = most;
  let bestCost = Number.POSITIVE_INFINITY;
  for (let length = toBucket(longest); length <= most; length += bucket) {
    const count = fill(paths, length).length;
    if (rows !== "auto" && count <= rows) return length;
    const keys = length + (count > 1 ? stem : 0);
    const cost = count * length * (costs.perToken + keys * costs.perTokenPair);
    if (rows === "auto" && cost < bestCost) [best, bestCost] = [length, cost];
  }
  return best;
}

/** Tokens that every path begins with. */
function sharedByAll(paths: readonly Path[]): number {
  return paths.reduce(
    (n, path, i) => Math.min(n, i === 0 ? path.length : path.shared),
    paths[0]?.length ?? 0,
  );
}

/** A row that is being filled. */
interface OpenRow extends RowGroup<Path> {
  /** Nodes that the row's last path has in common with the path that comes next. */
  shared: number;
}

/** Fills rows of `length` tokens in sorted order: each path goes where it needs the fewest nodes of its own, of several such
 *  rows into the fullest, and into a new one where none has room. The first row alone holds the `stem`. */
function fillRows(paths: readonly Path[], length: number, stem: number): RowGroup<Path>[] {
  const rows: OpenRow[] = [];
  for (const path of paths) {
    for (const row of rows) row.shared = Math.min(row.shared, path.shared);
    const best = roomiest(rows, path, length);
    if (best) {
      best.used += path.length - best.shared;
      best.paths.push(path);
      best.shared = path.length;
    } else {
      const used = path.length - (rows.length > 0 ? stem : 0);
      rows.push({ paths: [path], used, shared: path.length });
    }
  }
  return rows;
}

function roomiest(rows: readonly OpenRow[], path: Path, length: number): OpenRow | null {
  let best: OpenRow | null = null;
  for (const row of rows) {
    if (row.used + path.length - row.shared > length) continue;
    const isBetter =
      best === null || row.shared > best.shared || (row.shared === best.shared && row.used > best.used);
    if (isBetter) best = row;
  }
  return best;
}

type Nodes = Pick<PackedBatch, "tokens" | "positions" | "ends">;

/** All padding: token 0 at position 0, seeing nothing else of its row. */
export function emptyNodes(rows: number, length: number): Nodes {
  const size = rows * length;
  return {
    tokens: new Int32Array(size),
    positions: new Int32Array(size),
    ends: Int32Array.from({ length: size }, (_, i) => (i % length) + 1),
  };
}

/** node · LABEL_STRIDE + label → weight. */
type EdgeWeights = Map<number, number>;
/** The edges of a path, by their keys. */
interface Trace {
  readonly example: number;
  readonly keys: readonly number[];
}
/** Above any vocabulary; the product stays an exact integer for 2³¹ nodes. */
const LABEL_STRIDE = 2 ** 22;

/** Lays the trie of sorted paths out from `base`, without the first `stem` nodes, which are those of the first row. */
function layRow(
  paths: readonly Path[],
  base: number,
  stem: number,
  nodes: Nodes,
  edges: EdgeWeights,
  traces: Trace[] | null,
): void {
  // Nodes of the current path, by depth.
  const open = Array.from({ length: stem }, (_, i) => i);
  let used = 0;
  const close = (depth: number): void => {
    while (open.length > depth) nodes.ends[open.pop() as number] = used;
  };
  for (const [i, path] of paths.entries()) {
    const before = paths[i - 1];
    close(before === undefined ? stem : sharedLength(before, path));
    while (open.length < path.length) {
      nodes.tokens[base + used] = path.ids[open.length] as number;
      nodes.positions[base + used] = open.length;
      open.push(base + used++);
    }
    const keys = edgeKeys(path, open);
    for (const key of keys) edges.set(key, (edges.get(key) ?? 0) + 1);
    traces?.push({ example: path.example, keys });
  }
  close(stem);
}

function edgeKeys(path: Path, open: readonly number[]): number[] {
  const keys: number[] = [];
  for (let i = 1; i <= path.length; i++)
    if (path.isLabel[i] === 1) keys.push((open[i - 1] as number) * LABEL_STRIDE + (path.ids[i] as number));
  return keys;
}

/** Keys as indices into the edges of `edgeArrays`. */
function pathsOf(traces: readonly Trace[], edges: EdgeWeights): EdgePath[] {
  const sorted = [...edges.keys()].sort((a, b) => a - b);
  const indexOf = new Map(sorted.map((key, e) => [key, e]));
  return traces.map(({ example, keys }) => ({
    example,
    edges: Int32Array.from(keys, (key) => indexOf.get(key) as number),
  }));
}

/** Edges in the order of node, then label; filled up with edges of weight 0. */
function edgeArrays(
  edges: EdgeWeights,
  bucket: number,
): Pick<PackedBatch, "edgeNodes" | "edgeLabels" | "edgeWeights" | "labelCount"> {
  const sorted = [...edges].sort(([a], [b]) => a - b);
  const size = Math.max(1, Math.ceil(sorted.length / bucket)) * bucket;
  const edgeNodes = new Int32Array(size);
  const edgeLabels = new Int32Array(size);
  const edgeWeights = new Float32Array(size);
  let labelCount = 0;
  sorted.forEach(([key, weight], e) => {
    edgeNodes[e] = Math.floor(key / LABEL_STRIDE);
    edgeLabels[e] = key % LABEL_STRIDE;
    edgeWeights[e] = weight;
    labelCount += weight;
  });
  return { edgeNodes, edgeLabels, edgeWeights, labelCount };
}

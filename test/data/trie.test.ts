import { describe, expect, it } from "vitest";
import type { Example, PackedBatch } from "../../src/data/batch.ts";
import { packingCosts, packTrie, paddedSize, trieSize } from "../../src/data/trie.ts";
import { permutation, random } from "../../src/tensor/random.ts";
import { attentionModel } from "./attention-model.ts";
import { example, randomExamples } from "./random-examples.ts";

const ROWS = ["auto", 1, 2, 3, 7] as const;

/** Random batches of every size and row count. */
function eachBatch(
  check: (examples: Example[], batch: PackedBatch, label: string) => void,
  stem = false,
): void {
  for (let seed = 0; seed < 60; seed++) {
    const examples = randomExamples(1 + (seed % 13), random(seed, "trie"));
    for (const rows of ROWS) {
      const costs = { perToken: 1, perTokenPair: seed % 3 === 0 ? 1 : 0.01 };
      const batch = packTrie(examples, { rows, bucket: 4, edgeBucket: 8, costs, stem });
      check(examples, batch, `${seed}/${rows}`);
    }
  }
}

/** Column of each node's parent, found from depth and order alone; −1 for roots and padding. */
function parents(batch: PackedBatch, row: number): number[] {
  const open: number[] = [];
  return Array.from({ length: batch.length }, (_, i) => {
    const depth = batch.positions[row * batch.length + i] as number;
    open.length = depth;
    const parent = open[depth - 1] ?? -1;
    open[depth] = i;
    return parent;
  });
}

function ancestors(parent: readonly number[], i: number): number[] {
  return i < 0 ? [] : [...ancestors(parent, parent[i] as number), i];
}

/** "prefix > label" → times it is learned. */
function add(counts: Map<string, number>, prefix: readonly number[], label: number, weight: number): void {
  const key = `${prefix.join(" ")} > ${label}`;
  counts.set(key, (counts.get(key) ?? 0) + weight);
}

function plainPredictions(examples: readonly Example[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { ids, isLabel } of examples)
    for (const [i, id] of ids.entries()) if (isLabel[i] === 1) add(counts, [...ids.subarray(0, i)], id, 1);
  return counts;
}

/** Tokens of the first row that a row sees in front of its own. */
function stemOf(batch: PackedBatch, base: number): number[] {
  return base === 0 ? [] : [...batch.tokens.subarray(0, batch.stem)];
}

/** What the batch learns, each prefix read through the visibility vector alone. */
function packedPredictions(batch: PackedBatch): Map<string, number> {
  const counts = new Map<string, number>();
  for (const [e, node] of batch.edgeNodes.entries()) {
    const weight = batch.edgeWeights[e] as number;
    const base = Math.floor(node / batch.length) * batch.length;
    const column = node - base;
    const own = Array.from({ length: column + 1 }, (_, j) => j)
      .filter((j) => column < (batch.ends[base + j] as number))
      .map((j) => batch.tokens[base + j] as number);
    const prefix = [...stemOf(batch, base), ...own];
    if (weight > 0) add(counts, prefix, batch.edgeLabels[e] as number, weight);
  }
  return counts;
}

describe("packTrie on random batches", () => {
  it("lets each token see its ancestors and itself, nothing else", () => {
    eachBatch((_, batch, label) => {
      for (let row = 0; row < batch.rows; row++) {
        const parent = parents(batch, row);
        for (let i = 0; i < batch.length; i++) {
          const visible = parent
            .map((_, j) => j)
            .filter((j) => j <= i && i < (batch.ends[row * batch.length + j] as number));
          expect(visible, label).toEqual(ancestors(parent, i));
        }
      }
    });
  });

  it("puts each token at its depth", () => {
    eachBatch((_, batch, label) => {
      for (let row = 0; row < batch.rows; row++) {
        const parent = parents(batch, row);
        const depths = parent.map((_, i) => ancestors(parent, i).length - 1);
        const slice = batch.positions.subarray(row * batch.length, (row + 1) * batch.length);
        expect([...slice], label).toEqual(depths);
      }
    });
  });

  it.each([false, true])("learns exactly what the plain examples learn, stem: %s", (stem) => {
    let stems = 0;
    eachBatch((examples, batch, label) => {
      if (batch.stem > 0) stems++;
      expect(packedPredictions(batch), label).toEqual(plainPredictions(examples));
      const labels = examples.reduce((n, { isLabel }) => n + isLabel.reduce((m, x) => m + x, 0), 0);
      expect(batch.labelCount, label).toBe(labels);
      expect(
        batch.edgeWeights.reduce((n, w) => n + w, 0),
        label,
      ).toBe(labels);
    }, stem);
    expect(stems > 0).toBe(stem);
  });

  it("has no node twice in a row, none without use, and counts them", () => {
    eachBatch((examples, batch, label) => {
      let used = 0;
      for (let row = 0; row < batch.rows; row++) {
        const parent = parents(batch, row);
        const base = row * batch.length;
        const prefixes = parent
          .map((_, i) =>
            ancestors(parent, i)
              .map((j) => batch.tokens[base + j])
              .join(" "),
          )
          .filter((prefix, i) => !isPadding(batch, base + i) && prefix !== "");
        expect(new Set(prefixes).size, label).toBe(prefixes.length);
        for (let i = 0; i < batch.length; i++)
          if (batch.ends[base + i] === i + 1 && !isPadding(batch, base + i))
            expect(batch.edgeNodes.includes(base + i), `${label}: leaf ${i} starts an edge`).toBe(true);
        used += prefixes.length;
      }
      expect(batch.trieTokens, label).toBe(used);
      expect(batch.paddedTokens, label).toBe(paddedSize(examples));
      if (batch.rows === 1) expect(batch.trieTokens, label).toBe(trieSize(examples));
    });
  });

  it("has the shapes it says, in whole buckets", () => {
    eachBatch((examples, batch, label) => {
      expect(batch.length % 4, label).toBe(0);
      expect(batch.edgeNodes.length % 8, label).toBe(0);
      for (const nodes of [batch.tokens, batch.positions, batch.ends])
        expect(nodes.length, label).toBe(batch.rows * batch.length);
      for (const edges of [batch.edgeLabels, batch.edgeWeights])
        expect(edges.length, label).toBe(batch.edgeNodes.length);
      expect(batch.examples, label).toEqual(examples.map((e) => e.index));
    });
  });

  it("does not depend on the order of the examples, but for their list", () => {
    for (let seed = 0; seed < 20; seed++) {
      const examples = randomExamples(9, random(seed, "order"));
      const mixed = Array.from(permutation(9, random(seed)), (i) => examples[i] as Example);
      const { examples: _, ...packed } = packTrie(mixed);
      expect(packTrie(examples)).toMatchObject(packed);
    }
  });
});

/** Padding is told from a one-token subtree only by carrying no edge: token 0 never starts an example here. */
function isPadding(batch: PackedBatch, node: number): boolean {
  return batch.positions[node] === 0 && batch.tokens[node] === 0;
}

describe("packTrie against the padded batch", () => {
  // Both sums are over the same float64 numbers in another order; 1e-12 is some 1e4 roundings of a sum near 1e2.
  it.each([false, true])("has the loss of the padded batch, to 1e-12, stem: %s", (stem) => {
    for (let seed = 0; seed < 40; seed++) {
      const examples = randomExamples(1 + (seed % 9), random(seed, "loss"));
      const longest = Math.max(...examples.map(({ ids }) => ids.length));
      const model = attentionModel(4, longest, seed);
      const expected = paddedLoss(model, examples, longest);
      for (const rows of ROWS) {
        const loss = packedLoss(model, packTrie(examples, { rows, bucket: 8, stem }));
        expect(Math.abs(loss - expected), `${seed}/${rows}`).toBeLessThanOrEqual(
          1e-12 * Math.max(1, expected),
        );
      }
    }
  });
});

type Model = ReturnType<typeof attentionModel>;

/** Sum of −log p(label) over a rectangle filled up on the right. */
function paddedLoss(model: Model, examples: readonly Example[], longest: number): number {
  return examples.reduce((sum, { ids, isLabel }) => {
    const tokens = Array.from({ length: longest }, (_, i) => ids[i] ?? 0);
    const logProbs = model.logProbs(
      tokens,
      tokens.map((_, i) => i),
      (query, key) => key <= query,
    );
    return tokens.reduce((s, id, i) => (isLabel[i] === 1 ? s - (logProbs[i - 1]?.[id] as number) : s), sum);
  }, 0);
}

function packedLoss(model: Model, batch: PackedBatch): number {
  const logProbs: number[][] = [];
  for (let base = 0; base < batch.tokens.length; base += batch.length) {
    const front = stemOf(batch, base);
    const row = (values: Int32Array): number[] => [...values.subarray(base, base + batch.length)];
    const ends = [
      ...front.map(() => Number.POSITIVE_INFINITY),
      ...row(batch.ends).map((e) => e + front.length),
    ];
    const visible = (i: number, j: number): boolean => j <= i && i < (ends[j] as number);
    const positions = [...front.keys(), ...row(batch.positions)];
    logProbs.push(
      ...model.logProbs([...front, ...row(batch.tokens)], positions, visible).slice(front.length),
    );
  }
  return batch.edgeNodes.reduce((sum, node, e) => {
    const logProb = logProbs[node]?.[batch.edgeLabels[e] as number] as number;
    return sum - (batch.edgeWeights[e] as number) * logProb;
  }, 0);
}

describe("packTrie on a batch worked out by hand", () => {
  const examples = [example(5, [7, 8, 1, 2], 2), example(6, [7, 8, 1, 3], 2), example(7, [7, 9, 4], 2)];

  it("lays out nodes, ends and edges", () => {
    const batch = packTrie(examples, { rows: 1, bucket: 8, edgeBucket: 6 });
    expect([...batch.tokens]).toEqual([7, 8, 1, 9, 0, 0, 0, 0]);
    expect([...batch.positions]).toEqual([0, 1, 2, 1, 0, 0, 0, 0]);
    expect([...batch.ends]).toEqual([4, 3, 3, 4, 5, 6, 7, 8]);
    expect([...batch.edgeNodes]).toEqual([1, 2, 2, 3, 0, 0]);
    expect([...batch.edgeLabels]).toEqual([1, 2, 3, 4, 0, 0]);
    expect([...batch.edgeWeights]).toEqual([2, 1, 1, 1, 0, 0]);
    expect(batch).toMatchObject({ labelCount: 5, trieTokens: 4, paddedTokens: 12, examples: [5, 6, 7] });
  });

  it("keeps what all begin with in the first row alone", () => {
    const batch = packTrie(examples, { rows: 2, bucket: 3, edgeBucket: 4, stem: true });
    expect([...batch.tokens]).toEqual([7, 8, 1, 9, 0, 0]);
    expect([...batch.positions]).toEqual([0, 1, 2, 1, 0, 0]);
    expect([...batch.ends]).toEqual([3, 3, 3, 1, 2, 3]);
    expect([...batch.edgeNodes]).toEqual([1, 2, 2, 3]);
    expect([...batch.edgeLabels]).toEqual([1, 2, 3, 4]);
    expect(batch).toMatchObject({ rows: 2, length: 3, stem: 1, trieTokens: 4 });
  });

  it("keeps a node that another example goes through, though it is one's last label", () => {
    const batch = packTrie([example(0, [7, 1], 1), example(1, [7, 1, 2], 1)], { rows: 1, bucket: 2 });
    expect([...batch.tokens]).toEqual([7, 1]);
    expect([...batch.edgeWeights.subarray(0, 3)]).toEqual([2, 1, 0]);
  });

  it("fills up given rows with empty ones", () => {
    const batch = packTrie(examples, { rows: 4, bucket: 2 });
    expect(batch).toMatchObject({ rows: 4, length: 4 });
  });

  it("packs nothing into one bucket of padding", () => {
    expect(packTrie([], { bucket: 4 })).toMatchObject({ rows: 1, length: 4, labelCount: 0, trieTokens: 0 });
  });

  it("refuses options that are no sizes, all at once", () => {
    expect(() => packTrie(examples, { rows: 0, bucket: 1.5 })).toThrow(
      "Invalid packing options\n  bucket: expected a positive integer, got 1.5\n  rows: expected a positive integer, got 0",
    );
  });
});

describe("the choice of rows", () => {
  const distinct = Array.from({ length: 8 }, (_, i) =>
    example(
      i,
      Array.from({ length: 33 }, () => i + 1),
      1,
    ),
  );

  it("takes one long row where attention is cheap, many short ones where it is dear", () => {
    expect(packTrie(distinct, { costs: { perToken: 1, perTokenPair: 0 } })).toMatchObject({
      rows: 8,
      length: 32,
    });
    const shared = distinct.map((e) => example(e.index, [...Array(64).fill(9), ...e.ids], 64));
    expect(packTrie(shared, { costs: { perToken: 1, perTokenPair: 0 } })).toMatchObject({
      rows: 1,
      length: 320,
    });
    expect(packTrie(shared, { costs: { perToken: 0, perTokenPair: 1 } })).toMatchObject({
      rows: 4,
      length: 128, // 4·128² < 8·96² < 320²
    });
  });

  it("has no cheaper choice among the lengths that fit", () => {
    const costs = { perToken: 100, perTokenPair: 1 };
    const cost = (b: PackedBatch): number => b.rows * (b.length * 100 + b.length ** 2);
    for (let seed = 0; seed < 30; seed++) {
      const examples = randomExamples(12, random(seed, "rows"));
      const chosen = cost(packTrie(examples, { bucket: 2, costs }));
      for (let rows = 1; rows <= 12; rows++)
        expect(chosen).toBeLessThanOrEqual(cost(packTrie(examples, { bucket: 2, rows })));
    }
  });

  it("counts FLOPs from a model's sizes", () => {
    const smollm2 = {
      layerCount: 30,
      hiddenSize: 576,
      headCount: 9,
      kvHeadCount: 3,
      headDim: 64,
      mlpSize: 1536,
    };
    expect(packingCosts(smollm2)).toEqual({ perToken: 30 * 2 * 3_538_944, perTokenPair: 2 * 30 * 4 * 576 });
  });
});

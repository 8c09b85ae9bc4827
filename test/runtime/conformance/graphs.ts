import { expect } from "vitest";
import { gradients } from "../../../src/graph/gradients.ts";
import { BLOCK_PRODUCT } from "../../../src/graph/ops/blocks.ts";
import * as op from "../../../src/graph/ops/index.ts";
import { apply, constant, input, type Value, weight } from "../../../src/graph/value.ts";
import { floats, ints, iota, type Tensor } from "../../../src/tensor/tensor.ts";

import { type Check, load, normals, numbers, row, WEIGHTS } from "./check.ts";

/** Graphs that need something of the device; those about a feature do nothing where it is not stated. */
export const GRAPH_CHECKS: readonly Check[] = [
  {
    name: "reads weights that lie beside the graph, packed or not, with and without memory of its own",
    run: async (subject) => {
      const values = normals("weight", [64, 32]);
      const at = { fileName: WEIGHTS, offsetBytes: 64, sizeBytes: 4 * 64 * 32 };
      const file = new Uint8Array(64 + at.sizeBytes);
      file.set(new Uint8Array(values.data.buffer as ArrayBuffer), 64);
      const a = input("a", "float32", ["m", 64]);
      const [of, w] = [normals("a", [3, 64]), weight("w", [64, 32], at)];
      const expected = (r: number, c: number): number =>
        Array.from({ length: 64 }, (_, i) => i).reduce(
          (sum, i) => sum + (numbers(of)[64 * r + i] as number) * (numbers(values)[32 * i + c] as number),
          0,
        );
      for (const options of [{}, { prepack: false }, { arena: false }]) {
        const session = await load(subject, { product: op.matmul(a, w) }, options, file);
        const got = numbers((await session.run({ a: of })).product);
        for (const [r, c] of [
          [0, 0],
          [1, 17],
          [2, 31],
        ] as const) // sums of 64 products round to about 1e-6
          expect(got[32 * r + c]).toBeCloseTo(expected(r, c), 4);
      }
    },
  },
  {
    name: "multiplies with blocks of 4 bits, where it packs them",
    run: async (subject) => {
      if (!subject.backend.supports.packedOperators.includes(BLOCK_PRODUCT)) return;
      const quanta = constant({ dtype: "uint8", shape: [2, 2, 16], data: new Uint8Array(64).fill(0x9a) });
      const scales = constant(row(1, 2, 3, 4));
      const attributes = { K: 64, N: 2, bits: 4, block_size: 32, accuracy_level: 0 };
      const inputs = [input("a", "float32", ["m", 64]), quanta, scales];
      const product = apply(BLOCK_PRODUCT, inputs, ["m", 2], attributes, null);
      const session = await load(subject, { product }, { prepack: false });
      const a = floats(
        Float32Array.from({ length: 64 }, (_, i) => (i < 32 ? 1 : 10)),
        [1, 64],
      );
      // Of a byte 0x9a the low half is the first: quanta 10 and 9 less the middle 8, so 2 and 1, 48 in a block.
      expect(numbers((await session.run({ a })).product)).toEqual([48 * (1 + 20), 48 * (3 + 40)]);
    },
  },
  {
    name: "attends over a row of a cache with room, and puts what is new into it",
    run: async (subject) => {
      const { backend } = subject;
      const [q, k, v] = ["q", "k", "v"].map((name) => input(name, "float32", ["R", "T", 8])) as [
        Value,
        Value,
        Value,
      ];
      const room = (name: string): Value => input(name, "float32", ["R", 1, 1, "C", 8]);
      const sizes = { headCount: 1, kvHeadCount: 1, headDim: 8, attentionScale: 1 };
      const tokens = { lengths: input("lengths", "int32", ["R"]), added: input("added", "int32", ["T"]) };
      const masks = [
        op.pastMask(tokens, input("columns", "int32", ["C"]), null),
        op.freshMask(tokens, null),
      ] as const;
      const blocks = [
        { keys: room("keys"), values: room("values"), mask: masks[0] },
        { keys: op.byHead(k, sizes), values: op.byHead(v, sizes), mask: masks[1] },
      ];
      const attended = op.blockAttention(q, blocks, op.blockSizes(masks), sizes);
      const session = await load(subject, { attended, "keys.new": k, "values.new": v });
      await backend.resize({ keys: [3, 1, 1, 4, 8], values: [3, 1, 1, 4, 8] });
      const [keys, values] = [normals("k", [3, 8]), normals("v", [3, 8])];
      const at = (t: Tensor, i: number): Tensor =>
        floats((t.data as Float32Array).slice(8 * i, 8 * i + 8), [1, 1, 8]);
      let result: number[] = [];
      for (let i = 0; i < 3; i++) {
        const counts = { lengths: ints(Int32Array.of(i), [1]), columns: iota(4), added: iota(1) };
        const feeds = { q: at(keys, 0), k: at(keys, i), v: at(values, i), ...counts };
        const insert = { "keys.new": "keys", "values.new": "values" };
        const part = { names: ["keys", "values"], from: 1, to: 2 };
        result = numbers((await session.run(feeds, { fetch: ["attended"], insert, at: [i], part })).attended);
      }
      const kept = numbers((await backend.get(["keys"])).keys);
      expect([kept.slice(0, 32), kept.slice(64)].flat().every((x) => x === 0)).toBe(true);
      expect(kept.slice(32, 56)).toEqual(numbers(keys));
      const dot = (i: number): number =>
        numbers(at(keys, 0)).reduce((sum, a, d) => sum + a * (numbers(at(keys, i))[d] as number), 0);
      const powers = [0, 1, 2].map((i) => Math.exp(dot(i) - dot(0)));
      const sum = powers.reduce((a, b) => a + b);
      for (
        let d = 0;
        d < 8;
        d++ // a float32 sum of three
      )
        expect(result[d]).toBeCloseTo(
          powers.reduce((s, p, i) => s + (p / sum) * (numbers(at(values, i))[d] as number), 0),
          5,
        );
    },
  },
  {
    name: "computes the gradient of a norm, where it states gradients",
    run: async (subject) => {
      if (!subject.backend.supports.gradients) return;
      const [h, gamma] = [input("h", "float32", [1, 8]), constant(row(1, 1, 1, 1, 1, 1, 1, 1))];
      const weights = normals("dy", [1, 8]);
      const loss = op.sumAll(op.mul(op.rmsNorm(h, gamma, 1e-5), constant(weights)));
      const session = await load(subject, { dx: gradients(loss, [h])[0] as Value });
      const at = normals("h", [1, 8]);
      const value = (i: number, step: number): number => {
        const moved = numbers(at).map((a, k) => (k === i ? a + step : a));
        const size = Math.sqrt(moved.reduce((s, a) => s + a * a, 0) / 8 + 1e-5);
        return moved.reduce((s, a, k) => s + (a / size) * (numbers(weights)[k] as number), 0);
      };
      const dx = numbers((await session.run({ h: at })).dx);
      for (
        let i = 0;
        i < 8;
        i++ // central differences in float64: 1e-8 off, the graph's float32 1e-6
      )
        expect(dx[i]).toBeCloseTo((value(i, 1e-4) - value(i, -1e-4)) / 2e-4, 5);
    },
  },
  {
    name: "the same run gives the same bits, where it states so",
    run: async (subject) => {
      if (!subject.backend.supports.deterministic) return;
      const [a, b] = [input("a", "float32", ["m", 512]), input("b", "float32", [512, "n"])];
      const session = await load(subject, { sum: op.sumAll(op.matmul(a, b)), product: op.matmul(a, b) });
      const feeds = { a: normals("a", [64, 512]), b: normals("b", [512, 64]) };
      const first = await session.run(feeds);
      for (let i = 0; i < 5; i++) expect(await session.run(feeds)).toEqual(first);
    },
  },
];

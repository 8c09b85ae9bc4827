import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, test } from "vitest";
import type { AdapterContent } from "../../../src/formats/peft/adapter.ts";
import { DEFAULT_LORA_CONFIG } from "../../../src/formats/peft/config.ts";
import { openSafetensors } from "../../../src/formats/safetensors/read.ts";
import { type CombinationKind, combineAdapters } from "../../../src/peft/combine/combine.ts";
import { prunedAtRandom } from "../../../src/peft/combine/math.ts";
import {
  matrix,
  product,
  svd,
  svdOfProduct,
  thinQr,
  transposedMatrix,
} from "../../../src/tensor/linear-algebra.ts";
import { random } from "../../../src/tensor/random.ts";
import { type FloatTensor, floats } from "../../../src/tensor/tensor.ts";

const folder = fileURLToPath(new URL("../../fixtures/peft/combine/", import.meta.url));

interface Case {
  readonly adapters: readonly string[];
  readonly weights: readonly number[];
  readonly density?: number;
  readonly svd_rank?: number;
  readonly majority_sign_method?: "total" | "frequency";
}
const fixture = JSON.parse(readFileSync(`${folder}combine.json`, "utf8")) as {
  adapters: Record<string, { r: number; lora_alpha: number; use_rslora?: boolean }>;
  cases: Record<string, Case>;
};
const tensors = new Map<string, FloatTensor>();

beforeAll(async () => {
  const file = await openSafetensors(`${folder}combine.safetensors`);
  for (const key of file.entries.keys()) tensors.set(key, await file.read(key));
  await file.close();
});

function modules(): string[] {
  return [...tensors.keys()]
    .filter((k) => k.startsWith("one ") && k.endsWith(" A"))
    .map((k) => k.split(" ")[1] as string);
}

function factor(name: string, module: string, side: "A" | "B"): FloatTensor {
  return tensors.get(`${name} ${module} ${side}`) as FloatTensor;
}

function adapter(name: string): AdapterContent {
  const { r, lora_alpha, use_rslora = false } = fixture.adapters[name] as (typeof fixture.adapters)[string];
  const config = { ...DEFAULT_LORA_CONFIG, rank: r, alpha: lora_alpha, rsLora: use_rslora };
  const slots = modules().map(
    (m) => [m, { loraA: factor(name, m, "A"), loraB: factor(name, m, "B") }] as const,
  );
  return { config, tensors: new Map(slots) };
}

function update(a: FloatTensor, b: FloatTensor): Float64Array {
  return product(
    matrix(b.shape[0] as number, b.shape[1] as number, b.data),
    matrix(a.shape[0] as number, a.shape[1] as number, a.data),
  ).data;
}

function largestDifference(x: ArrayLike<number>, y: ArrayLike<number>): number {
  expect(x.length).toBe(y.length);
  return Array.from(x).reduce((max, v, i) => Math.max(max, Math.abs(v - (y[i] as number))), 0);
}

function combined(name: string): AdapterContent {
  const { adapters, weights, density, svd_rank, majority_sign_method } = fixture.cases[name] as Case;
  return combineAdapters(
    adapters.map((a, i) => ({ adapter: adapter(a), weight: weights[i] as number })),
    {
      kind: name.replace(/-(3|frequency)$/, "") as CombinationKind,
      ...(density === undefined ? {} : { density }),
      ...(svd_rank === undefined ? {} : { rank: svd_rank }),
      ...(majority_sign_method ? { majoritySign: majority_sign_method } : {}),
    },
  );
}

describe("equals PEFT's add_weighted_adapter", () => {
  // The factors themselves, but for svd, whose signs are free: there the product. fp32 on their side: 1e-6 of values near 1,
  // 1e-5 for svd, which PyTorch computes in fp32 on the whole matrix.
  test.each(Object.keys(fixture.cases))("%s", (name) => {
    const result = combined(name);
    expect([...result.tensors.keys()].sort()).toEqual(modules().sort());
    for (const module of modules()) {
      const { loraA, loraB } = result.tensors.get(module) as { loraA: FloatTensor; loraB: FloatTensor };
      const [a, b] = [
        factor(name.replaceAll("-", "_"), module, "A"),
        factor(name.replaceAll("-", "_"), module, "B"),
      ];
      expect([loraA.shape, loraB.shape]).toEqual([a.shape, b.shape]);
      if (name.startsWith("svd"))
        expect(largestDifference(update(loraA, loraB), update(a, b))).toBeLessThan(1e-5);
      else {
        expect(largestDifference(loraA.data, a.data)).toBeLessThan(1e-6);
        expect(largestDifference(loraB.data, b.data)).toBeLessThan(1e-6);
      }
    }
  });

  test("the result's own scaling is 1", () => {
    const { config } = combined("cat");
    expect(config).toMatchObject({ rank: 6, alpha: 6, rsLora: false, rankPattern: {}, alphaPattern: {} });
  });
});

describe("dare", () => {
  const one = (): AdapterContent => adapter("one");
  const dare = (seed: number): AdapterContent =>
    combineAdapters(
      [
        { adapter: one(), weight: 1 },
        { adapter: adapter("two"), weight: 1 },
      ],
      { kind: "dare-linear", density: 0.5, seed },
    );

  test("the same seed drops the same elements, another seed others", () => {
    expect(dare(3)).toEqual(dare(3));
    expect(dare(3)).not.toEqual(dare(4));
  });

  test("keeps the expected value: the share kept times 1/density", () => {
    const x = new Float32Array(20000).fill(1);
    const pruned = prunedAtRandom(x, 0.25, random(1));
    const mean = pruned.reduce((a, b) => a + b, 0) / x.length;
    expect(Math.abs(mean - 1)).toBeLessThan(0.05); // 4 standard deviations: √(3/20000) · 4
    expect(new Set(pruned)).toEqual(new Set([0, 4]));
  });
});

describe("refuses", () => {
  test("everything at once", () => {
    const parts = [
      { adapter: adapter("one"), weight: Number.NaN },
      { adapter: adapter("small"), weight: 1 },
    ];
    expect(() => combineAdapters(parts, { kind: "ties", rank: 2 })).toThrow(
      /density: expected a share in \(0, 1\] for ties, got none[\s\S]*rank: expected a whole number from 1, for svd only, got 2 for ties[\s\S]*adapter 1: expected a finite factor, got NaN[\s\S]*ties needs equal ranks, got 4, 2/,
    );
    expect(() => combineAdapters([], { kind: "cat" })).toThrow("expected at least one, got none");
  });

  test("updates of different shapes", () => {
    const of = (outSize: number, inSize: number): AdapterContent => {
      const [loraA, loraB] = [[4, inSize] as const, [outSize, 4] as const].map(([m, n]) =>
        floats(new Float32Array(m * n), [m, n]),
      ) as [FloatTensor, FloatTensor];
      return { ...adapter("one"), tensors: new Map([["q_proj", { loraA, loraB }]]) };
    };
    const parts = [of(8, 6), of(4, 6), of(8, 6)].map((content) => ({ adapter: content, weight: 1 }));
    for (const kind of ["cat", "svd", "linear"] as const)
      expect(() => combineAdapters(parts, { kind })).toThrow(
        "q_proj: expected updates of one shape [out,in], got [8,6] and [4,6]",
      );
  });

  test("what is trained whole", () => {
    const whole = {
      ...adapter("one"),
      tensors: new Map([["lm_head", { savedWeight: floats(new Float32Array(4), [2, 2]) }]]),
    };
    expect(() =>
      combineAdapters(
        [
          { adapter: whole, weight: 1 },
          { adapter: adapter("two"), weight: 1 },
        ],
        { kind: "cat" },
      ),
    ).toThrow("lm_head is trained whole");
  });
});

describe("linear algebra", () => {
  const generator = random(5, "linear algebra");
  const normal = (rows: number, columns: number) =>
    matrix(
      rows,
      columns,
      Float64Array.from({ length: rows * columns }, () => generator.normal()),
    );

  test("QR: orthonormal columns, upper triangle, the product is the matrix", () => {
    const a = normal(9, 4);
    const { q, r } = thinQr(a);
    expect(largestDifference(product(q, r).data, a.data)).toBeLessThan(1e-13);
    expect(
      largestDifference(
        product(transposedMatrix(q), q).data,
        [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1],
      ),
    ).toBeLessThan(1e-14);
    for (let i = 0; i < 4; i++) for (let j = 0; j < i; j++) expect(r.data[i * 4 + j]).toBe(0);
  });

  test.each([
    [6, 4],
    [4, 7],
    [5, 5],
  ])("SVD of %i × %i: descending values, the product is the matrix", (rows, columns) => {
    const a = normal(rows, columns);
    const { u, s, v } = svd(a);
    const scaled = matrix(
      u.rows,
      u.columns,
      u.data.map((x, i) => x * (s[i % u.columns] as number)),
    );
    expect(largestDifference(product(scaled, transposedMatrix(v)).data, a.data)).toBeLessThan(1e-12);
    expect([...s]).toEqual([...s].sort((x, y) => y - x));
  });

  test("SVD of a product from its factors, also of deficient rank", () => {
    const [b, a] = [normal(8, 3), normal(3, 6)];
    a.data.copyWithin(6, 0, 6); // two equal rows: rank 2
    const whole = svd(product(b, a));
    const { s } = svdOfProduct(b, a);
    expect(largestDifference(s, whole.s.subarray(0, 3))).toBeLessThan(1e-12);
    expect(s[2]).toBeLessThan(1e-12);
  });
});

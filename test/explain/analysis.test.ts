import { describe, expect, test } from "vitest";
import {
  amplification,
  ownProjectionNorm,
  projectionNorm,
  randomProjectionNorm,
} from "../../src/explain/amplification.ts";
import { factorUpdate } from "../../src/explain/factor-update.ts";
import {
  effectiveRank,
  keptBy,
  LEADING,
  randomSpectrum,
  rankKeeping,
  spectrumOf,
  stableRank,
} from "../../src/explain/spectrum.ts";
import { randomSimilarity, subspaceSimilarity } from "../../src/explain/subspace.ts";
import { columns } from "../../src/tensor/leading-svd.ts";
import { norm, transposedMatrix } from "../../src/tensor/linear-algebra.ts";
import { floats } from "../../src/tensor/tensor.ts";
import { gaussian, orthonormal, scaledColumns, tensorOf, withSpectrum } from "./matrices.ts";

/** Rounding of float32 factors. */
const FLOAT32 = 1e-5;

describe("an update of known singular values", () => {
  const [u, v] = [orthonormal(40, 3, 1), orthonormal(30, 3, 2)];
  const factors = (scaling: number) => ({
    ...{ path: "layers.0.attention.q", kind: "linear" as const, scaling },
    a: tensorOf(transposedMatrix(v)),
    b: tensorOf(scaledColumns(u, [3, 2, 1])),
  });

  test.each([2, -2])("has these, times the scaling %d, and its directions", async (scaling) => {
    const update = factorUpdate(factors(scaling));
    const spectrum = await spectrumOf(update);
    expect([...spectrum.s].map((s) => s.toFixed(4))).toEqual(["6.0000", "4.0000", "2.0000"]);
    expect(spectrum.frobenius).toBeCloseTo(Math.sqrt(36 + 16 + 4), 4);
    expect(spectrum.isComplete).toBe(true);
    const again = withSpectrum(spectrum.u, [...spectrum.s], spectrum.v);
    const delta = await update.delta();
    expect(norm(again.data.map((x, i) => x - (delta.data[i] as number)))).toBeLessThan(FLOAT32);
  });

  test("has only the directions that are there where factors depend on each other", async () => {
    const [a, b] = [gaussian(4, 30, 3), gaussian(40, 4, 4)];
    a.data.copyWithin(30, 0, 30); // its second row is its first
    const { s, u: left } = await spectrumOf(factorUpdate({ ...factors(1), a: tensorOf(a), b: tensorOf(b) }));
    expect([s.length, left.columns]).toEqual([3, 3]);
  });

  test("of zero has none", async () => {
    const b = floats(new Float32Array(120), [40, 3]);
    const { s, frobenius, isComplete } = await spectrumOf(factorUpdate({ ...factors(1), b }));
    expect([s.length, frobenius, isComplete]).toEqual([0, 0, true]);
  });

  test("that is no product has its norm exactly, and the leading values", async () => {
    const s = Array.from({ length: 40 }, (_, i) => 2 ** (-i / 4));
    const delta = withSpectrum(orthonormal(140, 40, 5), s, orthonormal(120, 40, 6));
    const update = { ...factorUpdate(factors(1)), factors: null, delta: async () => delta };
    const spectrum = await spectrumOf(update);
    expect(spectrum.isComplete).toBe(false);
    expect(spectrum.frobenius).toBeCloseTo(norm(Float64Array.from(s)), 10);
    expect(spectrum.s.length).toBe(LEADING);
    // The Krylov space: these fall by 16 within the leading ones.
    spectrum.s.forEach((x, i) => void expect(x).toBeCloseTo(s[i] as number, 6));
  });
});

describe("ranks", () => {
  test("effective and stable rank of equal, single and no singular values", () => {
    expect(effectiveRank([5, 5, 5, 5])).toBeCloseTo(4, 12);
    expect(effectiveRank([5])).toBe(1);
    expect([effectiveRank([]), stableRank([], 0)]).toEqual([0, 0]);
    // exp(−(3/4·ln 3/4 + 1/4·ln 1/4))
    expect(effectiveRank([3, 1])).toBeCloseTo(1.7547654, 6);
    expect(stableRank([2, 1], Math.sqrt(5))).toBeCloseTo(1.25, 12);
  });

  test("what a rank keeps, and the rank that keeps a share", () => {
    const s = [3, 2, 1]; // squares 9, 4, 1 of 14
    expect([0, 1, 2, 3].map((r) => keptBy(r, s, Math.sqrt(14)))).toEqual(
      [0, 9 / 14, 13 / 14, 1].map((x) => expect.closeTo(x, 12)),
    );
    expect([0.6, 0.9, 0.99, 1].map((share) => rankKeeping(share, s, Math.sqrt(14)))).toEqual([1, 2, 3, 3]);
    expect(rankKeeping(0.99, [3], 10)).toBeNull();
    expect(rankKeeping(0.99, [], 0)).toBe(0);
  });

  test("random factors are worth nearly their rank: many inputs make their directions equal", () => {
    const s = randomSpectrum(576, 576, 8);
    expect(effectiveRank(s)).toBeGreaterThan(7.8);
    expect(effectiveRank(s)).toBeLessThan(8);
    expect(rankKeeping(0.99, s, norm(s))).toBe(8);
  });
});

describe("φ", () => {
  test("is 1 within a subspace, 0 beside it, whatever the basis", () => {
    const u = orthonormal(20, 6, 7);
    const { phi, dimension } = subspaceSimilarity(u, u);
    expect(dimension).toBe(20);
    for (const row of phi) for (const value of row) expect(value).toBeCloseTo(1, 10);
    const apart = subspaceSimilarity(columns(u, 0, 3), columns(u, 3, 6));
    for (const row of apart.phi) for (const value of row) expect(value).toBeCloseTo(0, 10);
    // The first two of one are the last two of the other: only φ(2, j) and φ(i, …) that hold both are 1.
    const turned = {
      ...u,
      data: u.data.map((_, k) => u.data[Math.floor(k / 6) * 6 + (((k % 6) + 4) % 6)] as number),
    };
    const { phi: part } = subspaceSimilarity(columns(u, 0, 2), turned);
    expect(part[1]?.map((x) => Number(x.toFixed(6)))).toEqual([0, 0, 0.5, 1, 1, 1]);
  });

  test("of random subspaces is max(i, j)/d", () => {
    const [d, draws] = [64, 60];
    const sums = [0, 0];
    for (let k = 0; k < draws; k++) {
      const { phi } = subspaceSimilarity(orthonormal(d, 8, 100 + k), orthonormal(d, 4, 500 + k));
      sums[0] = (sums[0] as number) + (phi[7]?.[3] as number);
      sums[1] = (sums[1] as number) + (phi[0]?.[0] as number);
    }
    // Deviations of the means: 0.125·√(2/32/60) ≈ 0.004, and of one direction 0.0156·√(2/60) ≈ 0.003; four of them are allowed.
    expect(Math.abs((sums[0] as number) / draws - randomSimilarity(8, 4, d))).toBeLessThan(0.016);
    expect(Math.abs((sums[1] as number) / draws - randomSimilarity(1, 1, d))).toBeLessThan(0.012);
  });

  test("needs directions of one length", () => {
    expect(() => subspaceSimilarity(orthonormal(8, 2, 1), orthonormal(9, 2, 1))).toThrow(/8 and 9/);
  });
});

describe("amplification", () => {
  const [u, v] = [orthonormal(50, 5, 11), orthonormal(40, 5, 12)];
  const weight = tensorOf(withSpectrum(u, [9, 7, 5, 3, 1], v));

  test("of W's own directions, of those beside them, and of some", () => {
    expect(projectionNorm(columns(u, 0, 2), weight, columns(v, 0, 2))).toBeCloseTo(Math.sqrt(81 + 49), 4);
    expect(projectionNorm(columns(u, 0, 2), weight, columns(v, 2, 4))).toBeCloseTo(0, 4);
    expect(ownProjectionNorm(weight, 2)).toBeCloseTo(Math.sqrt(81 + 49), 4);
    const found = amplification(weight, { u: columns(u, 3, 5), v: columns(v, 3, 5), frobenius: 6 });
    expect(found.fromUpdate).toBeCloseTo(Math.sqrt(9 + 1), 4);
    expect(found.fromWeight).toBeCloseTo(Math.sqrt(81 + 49), 4);
    expect(found.factor).toBeCloseTo(6 / Math.sqrt(10), 4);
    expect(found.randomFactor).toBeCloseTo(6 / (Math.sqrt(165) * (2 / Math.sqrt(2000))), 4);
  });

  test("of random directions is the control", () => {
    const draws = 200;
    let squares = 0;
    for (let k = 0; k < draws; k++)
      squares += projectionNorm(orthonormal(50, 4, 1000 + k), weight, orthonormal(40, 4, 2000 + k)) ** 2;
    // The control is the root of the mean square. That of 200 draws, of a W of five directions, is within 15% of it: four deviations.
    const ratio = Math.sqrt(squares / draws) / randomProjectionNorm(weight, 4);
    expect(Math.abs(ratio - 1)).toBeLessThan(0.15);
  });

  test("has no factor where W does not act on the directions at all", () => {
    const zero = floats(new Float32Array(2000), [50, 40]);
    expect(amplification(zero, { u, v, frobenius: 1 })).toMatchObject({
      fromUpdate: 0,
      factor: null,
      randomFactor: null,
    });
    expect(() => projectionNorm(v, weight, u)).toThrow(/U \[50, r\] and V \[40, r\]/);
  });
});

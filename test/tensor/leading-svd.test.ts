import { beforeAll, expect, test } from "vitest";
import { columns, leadingSvd } from "../../src/tensor/leading-svd.ts";
import { type Matrix, matrix, product, transposedMatrix } from "../../src/tensor/linear-algebra.ts";
import { random } from "../../src/tensor/random.ts";
import type { Tensor } from "../../src/tensor/tensor.ts";
import { readTensors } from "../models/harness.ts";

let tensors: ReadonlyMap<string, Tensor>;
beforeAll(async () => {
  tensors = await readTensors(new URL("../fixtures/methods/lora-relatives/svd.safetensors", import.meta.url));
});

function matrixOf(name: string): Matrix {
  const { data, shape } = tensors.get(name) as Tensor;
  return matrix(shape[0] as number, shape[1] as number, data as Float32Array);
}

function leadingPart({ u, s, v }: ReturnType<typeof leadingSvd>): Matrix {
  const scaled = { ...u, data: u.data.map((x, i) => x * (s[i % u.columns] as number)) };
  return product(scaled, transposedMatrix(v));
}

function difference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  expect(a.length).toBe(b.length);
  return Math.max(...Array.from(a, (x, i) => Math.abs(x - (b[i] as number))));
}

// NumPy's results are stored as float32: 6e-8 of the largest value, 1. "small" is decomposed whole, the others in a Krylov
// space; "tall" has singular values 1/√i, which fall slowly: seen 1.3e-6.
test.each([
  ["small", 1e-7],
  ["wide", 2e-7],
  ["tall", 1e-5],
])("%s: singular values and leading part are NumPy's", (name, tolerance) => {
  const a = matrixOf(name);
  const got = leadingSvd(a, 6);
  expect([got.u.rows, got.u.columns, got.v.rows, got.v.columns]).toEqual([a.rows, 6, a.columns, 6]);
  expect(difference(got.s, tensors.get(`${name}.s`)?.data as Float32Array)).toBeLessThan(tolerance);
  expect(difference(leadingPart(got).data, matrixOf(`${name}.leading`).data)).toBeLessThan(tolerance);
  for (const q of [got.u, got.v]) {
    const gram = product(transposedMatrix(q), q);
    const identity = gram.data.map((_, i) => (i % 7 === 0 ? 1 : 0));
    expect(difference(gram.data, identity)).toBeLessThan(1e-12);
  }
});

test("noise without leading directions is still approximated nearly as well as can be", () => {
  const generator = random(1);
  const a = matrix(
    160,
    140,
    Array.from({ length: 160 * 140 }, () => generator.normal()),
  );
  const { s } = leadingSvd(a, 4);
  const exact = leadingSvd(columns(a, 0, 140), 132).s; // asks for so much that it is decomposed whole
  // The largest of 140 singular values between 0.8 and 24 that lie close together.
  for (let i = 0; i < 4; i++)
    expect(Math.abs((s[i] as number) / (exact[i] as number) - 1)).toBeLessThan(5e-3);
});

test("the same matrix gives the same result", () => {
  const a = matrixOf("tall");
  expect(leadingSvd(a, 3)).toEqual(leadingSvd(a, 3));
});

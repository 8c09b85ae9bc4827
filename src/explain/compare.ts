import { dot, type Matrix, matrix, product, svd, transposedMatrix } from "../tensor/linear-algebra.ts";
import type { FloatTensor } from "../tensor/tensor.ts";
import type { AnalysedModule } from "./module-explanation.ts";
import type { Spectrum } from "./spectrum.ts";
import { leading, type SubspaceSimilarity, subspaceSimilarity } from "./subspace.ts";

/** How alike two adapters are in one module. */
export interface ModuleSimilarity {
  readonly path: string;
  readonly layer: number | null;
  readonly matrix: string;
  /** ⟨ΔW₁, ΔW₂⟩ / (‖ΔW₁‖·‖ΔW₂‖); null where one is 0. */
  readonly cosine: number | null;
  /** The deviation from 0 that unrelated updates have: 1/√(out·in). */
  readonly randomCosine: number;
  /** Of the right singular directions of ΔW, in the space of inputs; null where a ΔW is 0. */
  readonly right: SubspaceSimilarity | null;
  /** Of the left ones, in the space of outputs. */
  readonly left: SubspaceSimilarity | null;
  /** Of the right singular directions of A (LoRA §7.2), noise before training; null for updates that are no products. */
  readonly a: SubspaceSimilarity | null;
}

/** Two analysed modules beside each other. `count`: leading directions to compare. */
export async function compareModules(
  x: AnalysedModule,
  y: AnalysedModule,
  count: number,
): Promise<ModuleSimilarity> {
  const { path, layer, matrix, shape } = x.explanation;
  const [p, q] = [x.spectrum, y.spectrum];
  const between = (side: "u" | "v"): SubspaceSimilarity | null =>
    p.s.length === 0 || q.s.length === 0
      ? null
      : subspaceSimilarity(leading(p[side], count), leading(q[side], count));
  return {
    ...{ path, layer, matrix },
    cosine: await cosineOf(x, y),
    randomCosine: 1 / Math.sqrt(shape[0] * shape[1]),
    right: between("v"),
    left: between("u"),
    a: similarityOfA(x, y, count),
  };
}

async function cosineOf(x: AnalysedModule, y: AnalysedModule): Promise<number | null> {
  const norms = x.spectrum.frobenius * y.spectrum.frobenius;
  if (norms === 0) return null;
  const isKnown = x.spectrum.isComplete && y.spectrum.isComplete;
  const inner = isKnown
    ? innerProduct(x.spectrum, y.spectrum)
    : dot((await x.update.delta()).data, (await y.update.delta()).data);
  return inner / norms;
}

/** ⟨ΔW₁, ΔW₂⟩_F without forming either: Σ σᵢ·τⱼ·(uᵢᵀuⱼ)·(vᵢᵀvⱼ). */
function innerProduct(x: Spectrum, y: Spectrum): number {
  const left = product(transposedMatrix(x.u), y.u);
  const right = product(transposedMatrix(x.v), y.v);
  return left.data.reduce((sum, value, k) => {
    const [i, j] = [Math.floor(k / left.columns), k % left.columns];
    return sum + (x.s[i] as number) * (y.s[j] as number) * value * (right.data[k] as number);
  }, 0);
}

function similarityOfA(x: AnalysedModule, y: AnalysedModule, count: number): SubspaceSimilarity | null {
  const [a, b] = [x.update.factors?.a, y.update.factors?.a];
  if (!a || !b) return null;
  return subspaceSimilarity(leading(rightDirections(a), count), leading(rightDirections(b), count));
}

/** Right singular directions of A [r, in], [in, r], by falling singular value; not those of singular values of 0. */
export function rightDirections(a: FloatTensor): Matrix {
  const [rank, inSize] = a.shape as [number, number];
  const { s, v } = svd(matrix(rank, inSize, a.data));
  return leading(v, s.filter((x) => x > 1e-7 * (s[0] ?? 0)).length);
}

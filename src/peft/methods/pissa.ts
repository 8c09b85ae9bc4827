import { leadingSvd } from "../../tensor/leading-svd.ts";
import { type Matrix, transposedMatrix } from "../../tensor/linear-algebra.ts";
import { type MethodKind, methodKind } from "../method-kind.ts";
import { loraKind } from "./lora-kind.ts";
import type { LoraModule } from "./lora-plan.ts";
import { type Factors, residualConfig, residualLora, residualSettings } from "./residual-lora.ts";

/** B = U·√(S/s), A = √(S/s)·Vᵀ of the leading singular triplets (Meng et al. 2024, arXiv 2404.02948, eq. 2 and 3), so that
 *  s·B·A is the best approximation of W of that rank. */
export function principalFactors(
  weight: Matrix,
  { rank, scaling }: Pick<LoraModule, "rank" | "scaling">,
): Factors {
  const { u, s, v } = leadingSvd(weight, rank);
  const roots = Float64Array.from(s, (x) => Math.sqrt(x / scaling));
  const scaledColumns = (m: Matrix): Matrix => ({
    ...m,
    data: m.data.map((x, i) => x * (roots[i % m.columns] as number)),
  });
  return { a: transposedMatrix(scaledColumns(v)), b: scaledColumns(u) };
}

/** PiSSA: LoRA on the principal part of each weight. Its files are plain LoRA of twice the rank. */
export const pissaKind: MethodKind = methodKind({
  name: "pissa",
  summary: "LoRA that starts as the principal part of each weight (SVD)",
  peftType: null,
  settings: residualSettings,
  create: (options, shape, use) =>
    residualLora("pissa", residualConfig(options, shape, use), shape, principalFactors),
  open: loraKind.open,
});

import { columns } from "../../tensor/leading-svd.ts";
import { type Matrix, product, thinQr, transposedMatrix } from "../../tensor/linear-algebra.ts";
import { type MethodKind, methodKind } from "../method-kind.ts";
import { loraKind } from "./lora-kind.ts";
import type { LoraModule } from "./lora-plan.ts";
import { type Factors, residualConfig, residualLora, residualSettings } from "./residual-lora.ts";

/** B = the first columns of Q, A = the first rows of R, of W = Q·R (Büyükakyüz 2024, arXiv 2406.01775, Algorithm 1). */
export function orthonormalFactors(weight: Matrix, { rank }: Pick<LoraModule, "rank">): Factors {
  const b = thinQr(columns(weight, 0, rank)).q;
  return { a: product(transposedMatrix(b), weight), b };
}

/** OLoRA: LoRA whose B starts orthonormal. Its files are plain LoRA of twice the rank. */
export const oloraKind: MethodKind = methodKind({
  name: "olora",
  summary: "LoRA that starts as a part of each weight with orthonormal B (QR)",
  peftType: null,
  settings: residualSettings,
  create: (options, shape, use) =>
    residualLora("olora", residualConfig(options, shape, use), shape, orthonormalFactors),
  open: loraKind.open,
});

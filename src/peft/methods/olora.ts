import { columns } from "../../tensor/leading-svd.ts";
import { type Matrix, product, thinQr, transposedMatrix } from "../../tensor/linear-algebra.ts";
import type { LoraModule } from "./lora.ts";
import { loraKind } from "./lora-kind.ts";
import { type Factors, residualLora } from "./residual-lora.ts";
import type { MethodKind } from "./table.ts";

/** B = the first columns of Q, A = the first rows of R, of W = Q·R (Büyükakyüz 2024, arXiv 2406.01775, Algorithm 1). */
export function orthonormalFactors(weight: Matrix, { rank }: Pick<LoraModule, "rank">): Factors {
  const b = thinQr(columns(weight, 0, rank)).q;
  return { a: product(transposedMatrix(b), weight), b };
}

/** OLoRA: LoRA whose B starts orthonormal. Its files are plain LoRA of twice the rank. */
export const oloraKind: MethodKind = {
  name: "olora",
  summary: "LoRA that starts as a part of each weight with orthonormal B (QR)",
  peftType: null,
  create: (options, shape) => residualLora("olora", options.lora, shape, orthonormalFactors),
  open: loraKind.open,
};

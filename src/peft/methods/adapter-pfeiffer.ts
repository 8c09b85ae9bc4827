import type { MethodKind } from "../method-kind.ts";
import { bottleneckMethod } from "./bottleneck.ts";

/** Adapter-P of the LoRA paper (Pfeiffer et al. 2021): once in a layer, after the MLP and its residual. There the original
 *  has the model's own LayerNorm in front; a pre-norm model has none at that place (AdapterHub does the same for GPT-2).
 *  L_adpt = L, L_LN = 0. */
export const adapterPfeifferKind: MethodKind = bottleneckMethod({
  name: "adapter-pfeiffer",
  summary: "one bottleneck after each layer's MLP",
  places: (layer) => [layer],
  hasNorm: false,
});

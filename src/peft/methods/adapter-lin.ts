import type { MethodKind } from "../method-kind.ts";
import { bottleneckMethod } from "./bottleneck.ts";

/** Adapter-L of the LoRA paper (Lin et al. 2020): once in a layer, after the MLP and its residual, behind a trained LayerNorm
 *  of its own. L_adpt = L_LN = L. */
export const adapterLinKind: MethodKind = bottleneckMethod({
  name: "adapter-lin",
  summary: "one bottleneck with a LayerNorm after each layer's MLP",
  places: (layer) => [layer],
  hasNorm: true,
});

import type { MethodKind } from "../method-kind.ts";
import { bottleneckMethod } from "./bottleneck.ts";

/** Adapter-H of the LoRA paper (Houlsby et al. 2019): after the attention and after the MLP of each layer, before the
 *  residual. L_adpt = 2L, L_LN = 0. */
export const adapterHoulsbyKind: MethodKind = bottleneckMethod({
  name: "adapter-houlsby",
  summary: "bottlenecks after attention and MLP",
  places: (layer) => [`${layer}.attention`, `${layer}.mlp`],
  hasNorm: false,
});

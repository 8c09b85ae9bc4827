import type { Method } from "../method.ts";
import { type Lora, lora } from "./lora.ts";
import { loraKind } from "./lora-kind.ts";
import type { MethodKind } from "./table.ts";

/** LoRA whose B of linear layers learns `ratio` times as fast as A (Hayou et al. 2024, arXiv 2402.12354, eq. 5). */
function withFasterB(method: Lora, ratio: number): Method {
  const faster = new Set(
    method.plan.modules.filter((m) => m.kind === "linear").map((m) => `${m.path}.loraB`),
  );
  return {
    ...method,
    name: "lora-plus",
    trainables: method.trainables.map((t) => (faster.has(t.name) ? { ...t, rateFactor: ratio } : t)),
  };
}

/** LoRA+: LoRA but for the learning rate of B. Its files are LoRA's. */
export const loraPlusKind: MethodKind = {
  name: "lora-plus",
  summary: "LoRA whose B learns faster than its A",
  peftType: null,
  create: (options, { config, modules }) =>
    withFasterB(lora(options.lora, config.family, modules), options.loraPlusRatio),
  open: loraKind.open,
};

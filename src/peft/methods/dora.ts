import { lora } from "./lora.ts";
import { loraKind } from "./lora-kind.ts";
import type { MethodKind } from "./table.ts";

/** DoRA (Liu et al. 2024): LoRA for the direction of each weight, and its magnitude trained apart. Its files are LoRA's with
 *  `use_dora`. */
export const doraKind: MethodKind = {
  name: "dora",
  summary: "LoRA for the direction of each weight, its magnitude trained apart",
  peftType: null,
  create: (options, { config, modules }) => lora({ ...options.lora, dora: true }, config.family, modules),
  open: loraKind.open,
};

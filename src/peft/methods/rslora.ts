import { lora } from "./lora.ts";
import { loraKind } from "./lora-kind.ts";
import type { MethodKind } from "./table.ts";

/** rsLoRA (Kalajdzievski 2023, arXiv 2312.03732): LoRA scaled by α/√r, so that the update's size does not fall with the rank.
 *  Its files are LoRA's with `use_rslora`. */
export const rsLoraKind: MethodKind = {
  name: "rslora",
  summary: "LoRA scaled by alpha / √rank",
  peftType: null,
  create: (options, { config, modules }) => lora({ ...options.lora, rsLora: true }, config.family, modules),
  open: loraKind.open,
};

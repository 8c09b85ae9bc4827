import { type MethodKind, methodKind } from "../method-kind.ts";
import { lora } from "./lora.ts";
import { loraKind } from "./lora-kind.ts";
import { loraConfig, loraSettings } from "./lora-options.ts";

/** rsLoRA (Kalajdzievski 2023, arXiv 2312.03732): LoRA scaled by α/√r, so that the update's size does not fall with the rank.
 *  Its files are LoRA's with `use_rslora`. */
export const rsLoraKind: MethodKind = methodKind({
  name: "rslora",
  summary: "LoRA scaled by alpha / √rank",
  peftType: null,
  settings: loraSettings,
  create: (options, shape, use) =>
    lora({ ...loraConfig(options, shape, use), rsLora: true }, shape.config.family, shape.modules),
  open: loraKind.open,
});

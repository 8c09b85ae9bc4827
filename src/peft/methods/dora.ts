import { type MethodKind, methodKind } from "../method-kind.ts";
import { lora } from "./lora.ts";
import { loraKind } from "./lora-kind.ts";
import { loraConfig, loraSettings } from "./lora-options.ts";

/** DoRA (Liu et al. 2024): LoRA for the direction of each weight, and its magnitude trained apart. Its files are LoRA's with
 *  `use_dora`. */
export const doraKind: MethodKind = methodKind({
  name: "dora",
  summary: "LoRA for the direction of each weight, its magnitude trained apart",
  peftType: null,
  settings: loraSettings,
  create: (options, shape, use) =>
    lora({ ...loraConfig(options, shape, use), dora: true }, shape.config.family, shape.modules),
  open: loraKind.open,
});

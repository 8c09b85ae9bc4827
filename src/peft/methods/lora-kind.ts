import { readPeftConfig } from "../../formats/peft/config.ts";
import { type MethodKind, methodKind } from "../method-kind.ts";
import { lora } from "./lora.ts";
import { loraConfig, loraSettings } from "./lora-options.ts";

/** LoRA (Hu et al. 2021) as a method of the table. */
export const loraKind: MethodKind = methodKind({
  name: "lora",
  summary: "low-rank update B·A beside each chosen weight",
  peftType: "LORA",
  settings: loraSettings,
  create: (options, shape, use) => lora(loraConfig(options, shape, use), shape.config.family, shape.modules),
  open: (json, shape, where) => {
    const { config, warnings } = readPeftConfig(json, where);
    return { method: lora(config, shape.config.family, shape.modules), warnings };
  },
});

import { readPeftConfig } from "../../formats/peft/config.ts";
import { lora } from "./lora.ts";
import type { MethodKind } from "./table.ts";

/** LoRA (Hu et al. 2021) as a method of the table. */
export const loraKind: MethodKind = {
  name: "lora",
  summary: "low-rank update B·A beside each chosen weight",
  peftType: "LORA",
  create: (options, { config, modules }) => lora(options.lora, config.family, modules),
  open: (json, shape, where) => {
    const { config, warnings } = readPeftConfig(json, where);
    return { method: lora(config, shape.config.family, shape.modules), warnings };
  },
};

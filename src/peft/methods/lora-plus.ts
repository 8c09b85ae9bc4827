import { type SettingsOf, setting } from "../../options/setting.ts";
import { positive } from "../../options/values.ts";
import type { Method } from "../method.ts";
import { type MethodKind, methodKind } from "../method-kind.ts";
import { type Lora, lora } from "./lora.ts";
import { loraKind } from "./lora-kind.ts";
import { type LoraOptions, loraConfig, loraSettings } from "./lora-options.ts";
import { ADAPTER } from "./target-options.ts";

/** LoRA whose B of linear layers learns `ratio` times as fast as A (Hayou et al. 2024, arXiv 2402.12354, eq. 5). */
function withFasterB(method: Lora, ratio: number): Method {
  const linear = method.plan.modules.filter((m) => m.kind === "linear").map((m) => `${m.path}.loraB`);
  // As PEFT's create_loraplus_optimizer: biases and norms learn as B does.
  const flat = method.trainables.filter((t) => t.shape.length === 1).map((t) => t.name);
  const faster = new Set([...linear, ...flat]);
  return {
    ...method,
    name: "lora-plus",
    trainables: method.trainables.map((t) => (faster.has(t.name) ? { ...t, rateFactor: ratio } : t)),
  };
}

/** Options of LoRA+. */
export interface LoraPlusOptions extends LoraOptions {
  /** Learning rate of B over that of A. */
  readonly loraPlusRatio: number;
}

const settings: SettingsOf<LoraPlusOptions> = {
  ...loraSettings,
  loraPlusRatio: setting(positive, 16, {
    group: ADAPTER,
    value: "x",
    description: "lora-plus: learning rate of B over that of A",
    knownAs: ["loraplusLrRatio"],
  }),
};

/** LoRA+: LoRA but for the learning rate of B. Its files are LoRA's. */
export const loraPlusKind: MethodKind = methodKind({
  name: "lora-plus",
  summary: "LoRA whose B learns faster than its A",
  peftType: null,
  settings,
  create: (options, shape, use) =>
    withFasterB(
      lora(loraConfig(options, shape, use), shape.config.family, shape.modules),
      options.loraPlusRatio,
    ),
  open: loraKind.open,
});

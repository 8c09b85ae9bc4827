import { z } from "zod";
import { type SettingsOf, setting } from "../options/setting.ts";
import { text } from "../options/values.ts";

const MODEL = "Model";

/** Which base model, and how it is held. */
export interface BaseOptions {
  /** An alias, a Hugging Face folder, a .gguf file or a Hub id. */
  readonly model: string;
  /** Bits of the frozen matrices in memory. */
  readonly baseBits: 32 | 8 | 4;
  /** Products with a base of 4 or 8 bits: exact, or with activations rounded to 8 bits. */
  readonly compute: "float32" | "int8";
}

export const baseSettings: SettingsOf<BaseOptions> = {
  model: setting(text, "smollm2-135m", {
    group: MODEL,
    value: "model",
    description: "model to adapt: an alias, a Hugging Face folder, a .gguf file or a Hub id",
    knownAs: ["modelNameOrPath", "baseModel", "modelName"],
  }),
  baseBits: setting(z.literal([32, 8, 4]), 32, {
    group: MODEL,
    value: "bits",
    description: "keep the frozen matrices in 4 or 8 bits: less memory, faster generation, rounded weights",
    knownAs: ["loadIn4bit", "loadIn8bit", "quantization", "quantize"],
  }),
  compute: setting(z.enum(["float32", "int8"]), "float32", {
    group: MODEL,
    description:
      "products with a base of 4 or 8 bits: exact, or faster with activations rounded to 8 bits as in generation",
  }),
};

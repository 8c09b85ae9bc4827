import { isObject } from "../../io/json.ts";

/** The rank that an adapter's configuration states, PEFT's (also AdaLoRA's first one) or mlx-lm's; null where it states none. */
export function statedRank(config: Readonly<Record<string, unknown>>): number | null {
  const mlx = isObject(config.lora_parameters) ? config.lora_parameters.rank : undefined;
  const rank = [config.r, config.init_r, mlx].find((value) => Number.isInteger(value));
  return rank === undefined ? null : (rank as number);
}

import { methodsWith, namesIn } from "../../src/peft/methods/table.ts";
import type { TrainOptions } from "../../src/train/config/config.ts";

/** Options without those that only other methods have: one list serves tests of every method. */
export function optionsFor(method: string, options: TrainOptions): TrainOptions {
  const chosen = namesIn(method);
  const has = (key: string): boolean => {
    const owners = methodsWith(key);
    return owners.length === 0 || owners.some((name) => chosen.includes(name));
  };
  return { ...Object.fromEntries(Object.entries(options).filter(([key]) => has(key))), method };
}

import { expect, test } from "vitest";
import { statedRank } from "../../src/formats/peft/stated-rank.ts";

test("the rank is stated as PEFT, AdaLoRA or mlx-lm do, or not at all", () => {
  expect(statedRank({ r: 8 })).toBe(8);
  expect(statedRank({ r: null, init_r: 12 })).toBe(12);
  expect(statedRank({ lora_parameters: { rank: 16 } })).toBe(16);
  for (const config of [{}, { r: "8" }, { lora_parameters: 3 }]) expect(statedRank(config)).toBeNull();
});

import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { FILE_TYPES, type GgufFileType } from "../../../src/formats/gguf/mixes.ts";
import type { ModelConfig } from "../../../src/formats/model.ts";

/** By kind of file, weight and type: the layers; −1 for what is in none. */
type Types = Readonly<Record<string, Readonly<Record<string, Readonly<Record<string, readonly number[]>>>>>>;

const { types } = JSON.parse(
  readFileSync(new URL("../../fixtures/k-quants/mixes.json", import.meta.url), "utf8"),
) as { types: Types };

const smollm2 = { family: "llama", layerCount: 30, headCount: 9, kvHeadCount: 3 } as ModelConfig;

test.each(Object.entries(types))("%s of SmolLM2: llama.cpp's own types", (kind, weights) => {
  let seen = 0;
  for (const [suffix, byType] of Object.entries(weights))
    for (const [type, layers] of Object.entries(byType))
      for (const layer of layers) {
        const name = layer < 0 ? suffix : `blk.${layer}.${suffix}`;
        const columns = suffix === "ffn_down.weight" ? 1536 : 576;
        const isOutput = name === "token_embd.weight"; // tied
        const weight = { name, shape: [64, columns], isOutput, config: smollm2 };
        expect([name, FILE_TYPES[kind as GgufFileType].typeOf(weight)]).toEqual([name, type]);
        seen++;
      }
  expect(seen).toBe(211);
});

const typeOf = (kind: GgufFileType, name: string, config: Partial<ModelConfig>, columns = 4096) =>
  FILE_TYPES[kind].typeOf({
    ...{ name, shape: [64, columns], isOutput: name === "output.weight" },
    config: { ...smollm2, ...config },
  });

// What llama_tensor_get_type says of weights that SmolLM2 does not have.
test.each<[GgufFileType, string, Partial<ModelConfig>, number, string]>([
  ["Q4_K_M", "token_embd.weight", {}, 4096, "Q4_K"],
  ["Q4_K_M", "output.weight", {}, 4096, "Q6_K"],
  ["Q4_K_M", "output.weight", {}, 320, "Q8_0"],
  ["Q4_K_M", "output.weight", {}, 72, "F16"],
  ["Q4_K_M", "blk.5.attn_qkv.weight", {}, 4096, "Q5_K"],
  ["Q5_K_M", "blk.5.attn_qkv.weight", {}, 4096, "Q6_K"],
  ["Q4_K_M", "blk.10.attn_v.weight", { layerCount: 80 }, 4096, "Q5_K"],
  ["Q4_K_M", "blk.10.attn_v.weight", { layerCount: 80, headCount: 3 }, 4096, "Q4_K"],
  ["Q4_K_M", "blk.3.ffn_down.weight", { layerCount: 4 }, 4096, "Q6_K"],
  ["Q4_K_M", "blk.0.ffn_down.weight", { layerCount: 4 }, 4096, "Q4_K"],
  ["Q5_K_M", "blk.4.attn_q.weight", {}, 96, "Q5_1"],
])("%s: %s of %o with %i columns is %s", (kind, name, config, columns, expected) => {
  expect(typeOf(kind, name, config, columns)).toBe(expected);
});

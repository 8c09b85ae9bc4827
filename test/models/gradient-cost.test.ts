import { afterAll, beforeAll, expect, test } from "vitest";
import { DEFAULT_LORA_CONFIG, type LoraConfig } from "../../src/formats/peft/config.ts";
import { serialize } from "../../src/graph/onnx.ts";
import { lora } from "../../src/peft/methods/lora.ts";
import { gradientGraph } from "../../src/train/step-graphs.ts";
import { openTiny, subjectOf, type TinyModel } from "./harness.ts";

let tiny: TinyModel;
beforeAll(async () => {
  tiny = await openTiny("llama-sharded"); // three layers
});
afterAll(() => tiny.close());

function operators(targetModules: readonly string[], layersToTransform: readonly number[] | null) {
  const config: LoraConfig = { ...DEFAULT_LORA_CONFIG, targetModules, layersToTransform };
  const method = lora(config, tiny.config.family, tiny.model.modules);
  return serialize(gradientGraph(subjectOf({ ...tiny.model, methods: [method] })));
}

function products(targetModules: readonly string[], layersToTransform: readonly number[] | null): number {
  const { opCounts } = operators(targetModules, layersToTransform);
  return (opCounts.get("MatMul") ?? 0) + (opCounts.get("com.microsoft::FusedMatMul") ?? 0);
}

// Matrix products are all but a few percent of a step. Forward: 7 linears and 2 attention products a layer, and the head.
const FORWARD = 3 * 9 + 1;
const HEAD = 1; // d hidden
const MLP = 3; // dX of down, gate, up
const OUT = 1; // dX of o
const FACTORS = 2 + 3; // A and B forward; dB, d(A·x), dA
const FULL_ATTENTION = 4 + 3; // d scores, dq, dk, dv; dX of q, k, v

test.each([
  ["the head alone", ["lm_head"], null, FACTORS],
  ["down of the last layer", ["down_proj"], [2], HEAD + FACTORS],
  ["q of the last layer: no dk, no dv", ["q_proj"], [2], HEAD + MLP + OUT + 2 + FACTORS],
  ["q and v of the last layer", ["q_proj", "v_proj"], [2], HEAD + MLP + OUT + 3 + 2 * FACTORS],
  [
    "q of the last two: the upper passes the gradient on, through A too",
    ["q_proj"],
    [1, 2],
    HEAD + 2 * (MLP + OUT + FACTORS) + FULL_ATTENTION + 1 + 2,
  ],
  ["q of all three", ["q_proj"], null, HEAD + 3 * (MLP + OUT + FACTORS) + 2 * (FULL_ATTENTION + 1) + 2],
] as const)("products for %s", (_what, targets, layers, extra) => {
  expect(products(targets, layers)).toBe(FORWARD + extra);
});

test("layers below the first adapted one have no backward pass", () => {
  const rotations = (layers: readonly number[]): number | undefined =>
    operators(["k_proj"], layers).opCounts.get("com.microsoft::RotaryEmbedding");
  expect(rotations([2]), "forward 3·2, backward k").toBe(7);
  expect(rotations([1]), "and q and k of the layer above").toBe(9);
  expect(rotations([0])).toBe(11);
});

test("a step needs no noise where nothing is dropped", () => {
  const names = operators(["q_proj"], null).inputs.map((i) => i.name);
  expect(names).not.toContain("noise");
});

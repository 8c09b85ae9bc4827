import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Example } from "../../src/data/batch.ts";
import type { BaseModel } from "../../src/models/base.ts";
import { createMethods } from "../../src/peft/methods/table.ts";
import { parameterCount } from "../../src/peft/parameters.ts";
import { type AdaptedModel, trainablesOf } from "../../src/peft/use/adapted-model.ts";
import { createRuntime, type PlaceGraph, type Runtime } from "../../src/runtime/create-runtime.ts";
import { random } from "../../src/tensor/random.ts";
import { trainConfig } from "../../src/train/config/config.ts";
import { createTrainEngine } from "../../src/train/step.ts";
import { temporaryFolder } from "../formats/fixtures.ts";
import { subjectOf } from "../models/harness.ts";
import { type Kind, quantizedPair } from "../models/wide-llama.ts";
import { openWasm } from "../runtime/wasm-in-node.ts";
import { optionsFor } from "../train/options-for.ts";

// As in test/models/quantized-base.test.ts, on the CPU.
const LOSS = 1e-6;
const GRADIENT = 5e-6;

/** Graphs and weights as bytes, as a page hands them over. */
const withWeights: PlaceGraph = async (bytes, folder, load) => {
  const files: Record<string, Uint8Array> = {};
  if (folder !== undefined)
    for (const name of (await readdir(folder)).filter((one) => one.endsWith(".bin")))
      files[name] = await readFile(join(folder, name));
  return load({ bytes, files });
};

let runtime: Runtime;
beforeAll(() => {
  runtime = createRuntime(openWasm(), withWeights, { device: "wasm", threads: 1 });
});
afterAll(() => runtime.close());

const EXAMPLES: Example[] = [0, 1, 2].map((index) => ({
  ids: Int32Array.from({ length: 9 }, (_, i) => (i < 3 ? i + 3 : (17 * i * (index + 2)) % 128)),
  isLabel: Uint8Array.from({ length: 9 }, (_, i) => Number(i > 2)),
  index,
}));

/** Loss and gradient at random parameters: with β₁ = 0 the first moment is the gradient. */
async function step({ config, family, modules, frozen, ...base }: BaseModel) {
  const options = trainConfig({ ...optionsFor("lora", { rank: 4, alpha: 8 }), beta1: 0, epsilon: 1 });
  const methods = createMethods("lora", options, { config, family, modules, ...base });
  const model: AdaptedModel = { config, family, modules, frozen, methods, positionCount: 16, rowTokens: 64 };
  const engine = await createTrainEngine(runtime, subjectOf(model), base.weights.folder, {
    ...options,
    clipNorm: null,
    profile: null,
    recompute: "none",
  });
  const size = parameterCount(trainablesOf(methods));
  const generator = random(3, "theta");
  const theta = Float32Array.from({ length: size }, () => 0.1 * generator.normal());
  await engine.setState({ theta, m: new Float32Array(size), v: new Float32Array(size) });
  const { loss } = await engine.update([EXAMPLES], 1, 0);
  const gradient = (await engine.state()).m as Float32Array;
  await engine.close();
  return { loss, gradient };
}

test.each<Kind>(["8", "4", "4 (Q4_1)"])(
  "a base in %s bits trains by WebAssembly as its floats do",
  async (kind) => {
    const { quantized, floats } = await quantizedPair(await temporaryFolder(), kind);
    const [found, expected] = [await step(quantized), await step(floats)];
    expect(Math.abs(found.loss / expected.loss - 1)).toBeLessThan(LOSS);
    const largest = Math.max(...expected.gradient.map(Math.abs));
    expect(largest).toBeGreaterThan(0);
    const worst = Math.max(...expected.gradient.map((g, i) => Math.abs(g - (found.gradient[i] as number))));
    expect(worst / largest).toBeLessThan(GRADIENT);
  },
);

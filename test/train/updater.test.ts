import { afterAll, beforeAll, expect, test } from "vitest";
import type { Method } from "../../src/peft/method.ts";
import { parameterCount } from "../../src/peft/parameters.ts";
import { openRuntime, type Runtime } from "../../src/runtime/runtime.ts";
import { random } from "../../src/tensor/random.ts";
import { floats, scalar } from "../../src/tensor/tensor.ts";
import { optimizerScalarName } from "../../src/train/update-graphs.ts";
import { createUpdater } from "../../src/train/updater.ts";
import { openTiny, type TinyModel } from "../models/harness.ts";
import { createOn, difference } from "../peft/methods/relatives.ts";

let runtime: Runtime;
let tiny: TinyModel;
beforeAll(async () => {
  runtime = openRuntime({ threads: 1 });
  tiny = await openTiny("llama");
});
afterAll(async () => {
  await tiny.close();
  await runtime.close();
});

const OPTIONS = { optimizer: "adamw", momentum: 0, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weightDecay: 0.1 };

function vectors(size: number): Record<string, Float32Array> {
  const of = (name: string, map: (x: number) => number): Float32Array => {
    const generator = random(3, name);
    return Float32Array.from({ length: size }, () => map(generator.normal()));
  };
  return {
    theta: of("theta", (x) => x),
    m: of("m", (x) => 0.1 * x),
    v: of("v", (x) => 0.01 * x * x),
    gradient: of("gradient", (x) => x),
  };
}

async function updated(
  method: Method,
  clipNorm: number | null,
  sizes: { longest: number; stretch: number },
  change: { rate?: number; loss?: number; gradient?: number } = {},
) {
  const size = parameterCount(method.trainables);
  const updater = await createUpdater(
    runtime,
    { ...tiny.model, methods: [method] },
    { ...OPTIONS, clipNorm },
    sizes,
  );
  const start = vectors(size);
  if (change.gradient !== undefined) start.gradient?.set([change.gradient], size - 1);
  for (const [name, data] of Object.entries(start)) await runtime.put({ [name]: floats(data, [size]) });
  const said = await updater.apply({
    learningRate: scalar(change.rate ?? 0.01),
    optimizer: {
      [optimizerScalarName("correction1")]: scalar(1 - 0.9 ** 3),
      [optimizerScalarName("correction2")]: scalar(1 - 0.99 ** 3),
    },
    loss: change.loss ?? 1,
    others: {},
  });
  await updater.close();
  const state = await runtime.get(["theta", "m", "v", "gradient"]);
  return {
    said,
    start,
    state: Object.fromEntries(Object.entries(state).map(([k, t]) => [k, t.data as Float32Array])),
  };
}

// lora-plus has rates of its own, pissa values that no update changes.
test.each(["full", "lora-plus", "pissa"])(
  "%s: in stretches an update does the same as at once",
  async (name) => {
    const method = createOn(tiny, name);
    const size = parameterCount(method.trainables);
    for (const clipNorm of [1, null]) {
      const whole = await updated(method, clipNorm, { longest: size, stretch: size });
      for (const stretch of [1000, size - 1, size + 5]) {
        const parts = await updated(method, clipNorm, { longest: size - 1, stretch });
        expect(parts.said.isKept).toBe(true);
        // Norms are summed in another order: a part in 10⁶ of the clipping factor.
        expect(parts.said.gradNorm / whole.said.gradNorm).toBeCloseTo(1, 5);
        for (const key of ["theta", "m", "v", "gradient"])
          expect(difference(parts.state[key] ?? [], whole.state[key] ?? []), key).toBeLessThan(1e-6);
        expect(parts.state.gradient?.every((x) => x === 0)).toBe(true);
        expect(difference(parts.state.theta ?? [], parts.start.theta ?? [])).toBeGreaterThan(1e-3);
      }
    }
  },
);

test.each([
  ["a loss that is no number", { loss: Number.NaN }],
  ["an infinite gradient", { gradient: Number.POSITIVE_INFINITY }],
  ["parameters beyond all bounds", { rate: 1e30 }],
])("%s: nothing is kept, in stretches as at once", async (_name, change) => {
  const method = createOn(tiny, "full");
  const size = parameterCount(method.trainables);
  for (const longest of [size, 100]) {
    const { said, start, state } = await updated(method, 1, { longest, stretch: 1000 }, change);
    expect(said.isKept).toBe(false);
    for (const key of ["theta", "m", "v"]) expect(state[key]).toEqual(start[key]);
  }
});

import * as op from "../../graph/ops/index.ts";
import { input, type Value } from "../../graph/value.ts";
import { floats, type Tensor } from "../../tensor/tensor.ts";
import type { Runtime } from "../create-runtime.ts";
import { tinyStep } from "./step.ts";

/** What one step and products gave on a runtime. */
export interface StepNumbers {
  readonly loss: number;
  /** One after the other. */
  readonly gradient: Float32Array;
  /** The fastest of a few chains of products. */
  readonly productMs: number;
}

/** How far a device is from the CPU. */
export interface StepErrors {
  /** |difference| / |loss|. */
  readonly loss: number;
  /** Largest |difference| / largest |gradient|. */
  readonly gradient: number;
}

/** Other orders of sums, and exponentials of a few units in the last place: Mesa's software driver is 2·10⁻⁷ off. */
export const STEP_LIMIT = 1e-4;

/** The loss and gradient of the tiny step, and what products take. */
export async function stepNumbers(runtime: Runtime): Promise<StepNumbers> {
  const { outputs, feeds, gradients } = tinyStep();
  const session = await runtime.load(outputs);
  const results = await session.run(feeds);
  await session.close();
  const slopes = gradients.map((name) => (results[name] as Tensor).data as Float32Array);
  const gradient = new Float32Array(slopes.reduce((n, { length }) => n + length, 0));
  let at = 0;
  for (const slope of slopes) {
    gradient.set(slope, at);
    at += slope.length;
  }
  return { loss: Number(results.loss?.data[0]), gradient, productMs: await productMs(runtime) };
}

const SIZE = 768;
/** Products in a chain: the time of a run that is not computing counts little. */
const CHAIN = 8;
const RUNS = 5;
/** A device that takes so long is no faster than a CPU. */
const ENOUGH_MS = 2000;

async function productMs(runtime: Runtime): Promise<number> {
  const x = input("x", "float32", [SIZE, SIZE]);
  const w = input("w", "float32", [SIZE, SIZE]);
  let y: Value = x;
  for (let i = 0; i < CHAIN; i++) y = op.matmul(y, w);
  const session = await runtime.load({ y: op.sumAll(y) });
  const feed = floats(new Float32Array(SIZE * SIZE).fill(1 / SIZE), [SIZE, SIZE]);
  await session.run({ x: feed, w: feed }); // compiles
  const times: number[] = [];
  const started = performance.now();
  for (let i = 0; i < RUNS && performance.now() - started < ENOUGH_MS; i++) {
    const from = performance.now();
    await session.run({ x: feed, w: feed });
    times.push(performance.now() - from);
  }
  await session.close();
  return Math.min(...times);
}

/** How far a device is from the CPU; NaN where a number is none. */
export function stepErrors(cpu: StepNumbers, device: StepNumbers): StepErrors {
  let [worst, largest] = [0, 0];
  for (const [i, g] of cpu.gradient.entries()) {
    const off = Math.abs(g - (device.gradient[i] as number));
    if (!(off <= worst) && !Number.isNaN(worst)) worst = off;
    largest = Math.max(largest, Math.abs(g));
  }
  return { loss: Math.abs(device.loss - cpu.loss) / Math.abs(cpu.loss), gradient: worst / largest };
}

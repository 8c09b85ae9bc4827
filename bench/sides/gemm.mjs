/** Peak of this machine in float32 matrix products of the engine that trains: eight products with constant weights in a row, so
 *  that handing over the result does not count. Prints { gflops, shapes }. */
import { matmul } from "../../dist/graph/ops/index.js";
import { constant, input } from "../../dist/graph/value.js";
import { openRuntime } from "../../dist/runtime/runtime.js";
import { floats } from "../../dist/tensor/tensor.js";

// [tokens, in, out]: SmolLM2's MLP, and larger.
const SHAPES = [
  [1024, 576, 3072],
  [1024, 1024, 4096],
  [2048, 2048, 2048],
];
const PAIRS = 4;
const RUNS = 12;

function random(length) {
  return Float32Array.from({ length }, () => (Math.random() - 0.5) / 32);
}

async function gflopsOf(runtime, [m, k, n]) {
  const x = input("x", "float32", [m, k]);
  const weights = [floats(random(k * n), [k, n]), floats(random(n * k), [n, k])].map(constant);
  let y = x;
  for (let i = 0; i < PAIRS; i++) y = matmul(matmul(y, weights[0]), weights[1]);
  const session = await runtime.load({ y });
  const feeds = { x: floats(random(m * k), [m, k]) };
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < RUNS; i++) {
    const started = performance.now();
    await session.run(feeds);
    best = Math.min(best, performance.now() - started);
  }
  await session.close();
  return (2 * m * k * n * 2 * PAIRS) / best / 1e6;
}

const runtime = openRuntime();
const shapes = {};
for (const shape of SHAPES) shapes[shape.join("×")] = await gflopsOf(runtime, shape);
await runtime.close();
process.stdout.write(JSON.stringify({ gflops: Math.max(...Object.values(shapes)), shapes }));

import { mixed, randomKeys } from "../../graph/ops/hash.ts";
import { add, concat, div, gather, matmul, mul, reshape, scale, sign, slice } from "../../graph/ops/index.ts";
import { int64s } from "../../graph/ops/reduce.ts";
import { apply, applyMany, constant, type Dim, type Value } from "../../graph/value.ts";
import { random } from "../../tensor/random.ts";
import { floats, ints, type Tensor } from "../../tensor/tensor.ts";

/** ONNX's numbers of types, for Cast. */
const FLOAT = 1;
const INT32 = 6;

/** Length of a block: the power of two that holds d numbers. */
export function blockSize(dimension: number): number {
  return 2 ** Math.ceil(Math.log2(dimension));
}

/** Number of blocks that give `count` numbers. */
export function blockCount(count: number, dimension: number): number {
  return Math.ceil(count / blockSize(dimension));
}

/** Keys of the blocks of one projected vector, int32 [blocks]: another `stream`, other random numbers. */
export function blockKeys(stream: string, blocks: number): Tensor {
  return ints(randomKeys(`fastfood.${stream}`, blocks), [blocks]);
}

/** H_n of Sylvester's construction, ±1: element (i, j) is −1 to the number of ones in i AND j. */
function hadamardMatrix(n: number): Value {
  const data = new Float32Array(n * n);
  for (let i = 0; i < n; i++)
    for (let j = 0; j < n; j++) {
      let common = i & j;
      let odd = 0;
      for (; common > 0; common &= common - 1) odd ^= 1;
      data[i * n + j] = odd === 1 ? -1 : 1;
    }
  return constant(floats(data, [n, n]));
}

/** Walsh-Hadamard transform of rows: x·H_ℓ, [blocks, ℓ] → same, ℓ a power of two. As H_ℓ = H_a ⊗ H_b two products with small
 *  matrices, 2·(a + b) operations per element. */
export function walshHadamard(size: number): (x: Value) => Value {
  const b = 2 ** Math.ceil(Math.log2(size) / 2);
  const a = size / b;
  const [left, right] = [hadamardMatrix(a), hadamardMatrix(b)];
  return (x) => reshape(matmul(left, matmul(reshape(x, [x.shape[0] as Dim, a, b]), right)), x.shape);
}

/** Well mixed int32s of keys and a seed [1]: the sum is between two streams, so one round would keep its structure. */
function seeded(keys: Value, seed: Value): Value {
  return mixed(mixed(add(keys, seed)));
}

function cast(x: Value, to: number, dtype: "float32" | "int32"): Value {
  return apply("Cast", [x], x.shape, { to }, null, dtype);
}

/** Order of random numbers, int64 [n]: a random permutation. */
function randomOrder(numbers: Value): Value {
  const shape = numbers.shape;
  const types = [
    { dtype: numbers.dtype, shape },
    { dtype: "int64" as const, shape },
  ];
  return applyMany("TopK", [numbers, int64s(shape as number[])], types, { axis: 0 }, null)[1] as Value;
}

/** The high bits of a hash choose among so many numbers. */
const LEVELS = 4096;

/** Standard normal numbers by their place from −LEVELS/2 to LEVELS/2 (those below zero count from the end, as ONNX has it):
 *  t(−i) = −t(i), and scaled, so that the mean is zero and the variance one. Division towards zero chooses 0 twice as often. */
function normalTable(): Value {
  const generator = random(0, "fastfood.normal");
  const draws = Float64Array.from({ length: LEVELS / 2 - 1 }, () => generator.normal());
  const deviation = Math.sqrt((2 * draws.reduce((n, x) => n + x * x, 0)) / LEVELS);
  const table = new Float32Array(LEVELS);
  draws.forEach((x, i) => {
    table[i + 1] = x / deviation;
    table[LEVELS - 1 - i] = -x / deviation;
  });
  return constant(floats(table, [LEVELS]));
}

/** P·θ: the first `count` of the blocks H·G·Π·H·B·θ below one another, [count]. `keys` int32 [blocks] as `blockKeys`. */
export type Projection = (keys: Value, count: number) => Value;

/** Fastfood (Le, Sarlós, Smola 2013) of θ [d] with blocks of ℓ numbers: H Walsh-Hadamard, B random signs and Π a random
 *  permutation, which all blocks share, G a Gaussian diagonal of each block's own. Divided by √(count·ℓ), so that ‖P·θ‖ is about
 *  ‖θ‖ (as Aghajanyan et al. 2020, whose code divides by the norm of the G that it drew; here by what is expected of it).
 *  All is made of hashes of `seed`, a whole number below 2²⁴ as a float [1], while the graph runs: nothing of P is stored. */
export function fastfood(theta: Value, seed: Value): Projection {
  const [d] = theta.shape as [number];
  const size = blockSize(d);
  const transform = walshHadamard(size);
  const word = cast(seed, INT32, "int32");
  const numbers = (stream: string): Value => seeded(constant(blockKeys(stream, size)), word);
  const signs = sign(cast(numbers(".signs"), FLOAT, "float32"));
  const padded =
    size === d ? theta : concat([theta, constant(floats(new Float32Array(size - d), [size - d]))], 0);
  const spread = reshape(transform(reshape(mul(padded, signs), [1, size])), [size]);
  const psi = gather(spread, randomOrder(numbers(".order"))); // Π·H·B·θ
  const [places, table] = [numbers(".places"), normalTable()];
  const step = constant(ints(Int32Array.of(2 ** 32 / LEVELS), []));
  return (keys, count) => {
    const blocks = keys.shape[0] as number;
    const rows = reshape(seeded(keys, word), [blocks, 1]);
    const g = gather(table, div(mixed(add(rows, places)), step));
    const whole = reshape(transform(mul(g, scale(psi, 1 / Math.sqrt(count * size)))), [blocks * size]);
    return blocks * size === count ? whole : slice(whole, 0, 0, count);
  };
}

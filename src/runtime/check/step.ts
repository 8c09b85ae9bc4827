import { gradients } from "../../graph/gradients.ts";
import * as op from "../../graph/ops/index.ts";
import { constant, input, type Value } from "../../graph/value.ts";
import { random } from "../../tensor/random.ts";
import { floats, ints, iota, type Tensor } from "../../tensor/tensor.ts";
import type { Tensors } from "../backend.ts";

const ROWS = 2;
const LENGTH = 12;
const VOCABULARY = 64;
const WIDTH = 32;
const MLP = 64;
const RANK = 4;
const SIZES = { headCount: 4, kvHeadCount: 2, headDim: 8 };
const KV_WIDTH = SIZES.kvHeadCount * SIZES.headDim;

/** Frozen weights [out, in], and what is trained: LoRA on q, v and the MLP's way down. */
const FROZEN: Readonly<Record<string, readonly number[]>> = {
  embed: [VOCABULARY, WIDTH],
  q: [WIDTH, WIDTH],
  k: [KV_WIDTH, WIDTH],
  v: [KV_WIDTH, WIDTH],
  o: [WIDTH, WIDTH],
  gate: [MLP, WIDTH],
  up: [MLP, WIDTH],
  down: [WIDTH, MLP],
};
const ADAPTED = ["q", "v", "down"] as const;

function normals(name: string, shape: readonly number[], deviation: number): Tensor {
  const generator = random(1, name);
  const size = shape.reduce((n, d) => n * d, 1);
  return floats(
    Float32Array.from({ length: size }, () => deviation * generator.normal()),
    shape,
  );
}

function frozen(name: string): Value {
  const shape = FROZEN[name] as readonly number[];
  return constant(normals(name, shape, 1 / Math.sqrt(shape[1] as number)));
}

/** A loss and its gradients by the adapters' factors. */
export interface TinyStep {
  readonly outputs: Readonly<Record<string, Value>>;
  readonly feeds: Tensors;
  /** Names of the outputs that are gradients. */
  readonly gradients: readonly string[];
}

function angles(part: (x: number) => number): Float32Array {
  const half = SIZES.headDim / 2;
  return Float32Array.from({ length: LENGTH * half }, (_, i) =>
    part(Math.floor(i / half) * 10000 ** (-(i % half) / half)),
  );
}

/** One layer of a decoder with LoRA, random but the same everywhere: the operators of a training step on two packed rows. */
export function tinyStep(): TinyStep {
  const trained = new Map<string, Value>();
  const feeds: Record<string, Tensor> = {};
  const factor = (name: string, shape: readonly number[]): Value => {
    feeds[name] = normals(name, shape, 0.1);
    const value = input(name, "float32", shape);
    trained.set(name, value);
    return value;
  };
  const linear = (name: string, x: Value): Value => {
    const y = op.linear(x, frozen(name));
    if (!ADAPTED.some((path) => path === name)) return y;
    const [out, size] = FROZEN[name] as [number, number];
    const a = factor(`${name}.loraA`, [RANK, size]);
    const b = factor(`${name}.loraB`, [out, RANK]);
    return op.add(y, op.linear(op.linear(x, a), b, 2));
  };
  const loss = lossOf(linear);
  const names = [...trained.keys()];
  const slopes = gradients(loss, [...trained.values()]);
  const outputs = Object.fromEntries(names.map((name, i) => [`${name}.gradient`, slopes[i] as Value]));
  return {
    outputs: { loss, ...outputs },
    feeds: { ...feeds, ...tokenFeeds() },
    gradients: Object.keys(outputs),
  };
}

function lossOf(linear: (name: string, x: Value) => Value): Value {
  const grid = (name: string): Value => input(name, "int32", [ROWS, LENGTH]);
  const [ids, positions, ends] = [grid("ids"), grid("positions"), grid("ends")];
  const tokens = { columns: input("columns", "int32", [LENGTH]), ends, positions };
  const gamma = constant(floats(new Float32Array(WIDTH).fill(1), [WIDTH]));
  const tables = op.rotaryConstants(angles(Math.cos), angles(Math.sin), SIZES.headDim / 2);
  const embed = frozen("embed");
  const start = op.gather(embed, ids);
  const x = op.rmsNorm(start, gamma, 1e-5);
  const [q, k] = ["q", "k"].map((name) => op.rotary(linear(name, x), positions, tables)) as [Value, Value];
  const mask = op.groupMask(op.trieMask(tokens, tokens), SIZES);
  const middle = op.add(start, linear("o", op.attention(q, k, linear("v", x), mask, SIZES)));
  const y = op.rmsNorm(middle, gamma, 1e-5);
  const last = op.add(middle, linear("down", op.mul(op.silu(linear("gate", y)), linear("up", y))));
  const hidden = op.foldRows(op.rmsNorm(last, gamma, 1e-5));
  const labels = input("labels", "int32", [ROWS * LENGTH]);
  const weights = input("weights", "float32", [ROWS * LENGTH]);
  return op.crossEntropy(op.linear(hidden, embed), labels, weights);
}

/** Two sequences of six tokens in each row. */
function tokenFeeds(): Tensors {
  const count = ROWS * LENGTH;
  const half = LENGTH / 2;
  const numbers = (of: (i: number) => number, shape: readonly number[]): Tensor =>
    ints(
      Int32Array.from({ length: count }, (_, i) => of(i)),
      shape,
    );
  const grid = [ROWS, LENGTH];
  return {
    ids: numbers((i) => (7 * i + 3) % VOCABULARY, grid),
    positions: numbers((i) => i % half, grid),
    ends: numbers((i) => (i % LENGTH < half ? half : LENGTH), grid),
    columns: iota(LENGTH),
    labels: numbers((i) => (11 * i + 5) % VOCABULARY, [count]),
    weights: floats(new Float32Array(count).fill(1 / count), [count]),
  };
}

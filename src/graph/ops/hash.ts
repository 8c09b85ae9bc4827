import { random } from "../../tensor/random.ts";
import { ints } from "../../tensor/tensor.ts";
import { apply, constant, type Value } from "../value.ts";
import { add, mul } from "./arithmetic.ts";

/** int32 numbers [count], drawn once and for all for a `stream`: keys that `mixed` makes random numbers of. */
export function randomKeys(stream: string, count: number): Int32Array {
  const generator = random(0, stream);
  return Int32Array.from({ length: count }, () => generator.uint32() | 0);
}

/** A permutation of the int32 numbers, twice x·(a·x + b) with a even and b odd, times a constant: sums and products alone, which
 *  every device has (WebGPU's engine has no bitwise operators). Good where `mixed` is. Not differentiable. */
export function stirred(x: Value): Value {
  const int = (n: number): Value => constant(ints(Int32Array.of(n), []));
  const stir = (y: Value, even: number, odd: number): Value => mul(y, add(mul(y, int(even)), int(odd)));
  return mul(stir(stir(x, 0x2c1b3c6c, 0x297a2d39), 0x5851f42c, 0x85ebca6b), int(0x9e3779b1));
}

/** (x·(a·x + b) ⊕ c·x)·d modulo 2³² of every int32, the same bits on every device. Of a sum of two random keys it is as good as
 *  random in its high bits; the low ones depend on low ones alone. Not differentiable. */
export function mixed(x: Value): Value {
  // Multiplications by odd constants and x·(x + c) carry low bits up.
  const odd = (n: number): Value => constant(ints(Int32Array.of(n | 1), []));
  const curved = mul(x, add(mul(x, odd(0x2c1b3c6d)), odd(0x297a2d39)));
  const stirred = apply("BitwiseXor", [curved, mul(x, odd(0x85ebca6b))], x.shape, {}, null);
  return mul(stirred, odd(0x9e3779b1));
}

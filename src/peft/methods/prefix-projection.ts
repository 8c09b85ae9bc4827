import { type FloatTensor, floats } from "../../tensor/tensor.ts";

/** The prefix that the trained perceptron of prefix tuning makes: tanh(E·W₁ᵀ + b₁)·W₂ᵀ + b₂, [count, 2·layers·kvWidth]. */
export function projectPrefix(values: ReadonlyMap<string, FloatTensor>): FloatTensor {
  const get = (name: string): FloatTensor => values.get(`prefix.${name}`) as FloatTensor;
  const layer = (x: FloatTensor, name: string): FloatTensor =>
    affine(x, get(`${name}.weight`), get(`${name}.bias`));
  const hidden = layer(get("tokens"), "hidden");
  return layer(floats(hidden.data.map(Math.tanh), hidden.shape), "output");
}

/** x·Wᵀ + b: x [n, in], W [out, in], b [out] → [n, out]. Summed in double precision. */
function affine(x: FloatTensor, w: FloatTensor, b: FloatTensor): FloatTensor {
  const [outSize, inSize] = w.shape as [number, number];
  const rows = x.shape[0] as number;
  const y = new Float32Array(rows * outSize);
  for (let r = 0; r < rows; r++)
    for (let o = 0; o < outSize; o++) {
      let sum = b.data[o] as number;
      for (let i = 0; i < inSize; i++)
        sum += (x.data[r * inSize + i] as number) * (w.data[o * inSize + i] as number);
      y[r * outSize + o] = sum;
    }
  return floats(y, [rows, outSize]);
}

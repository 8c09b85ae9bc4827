import { InputError, type Problem, ShapeError } from "../../errors.ts";
import { concatBytes } from "../../io/bytes.ts";
import type { OnProgress } from "../../io/progress.ts";
import { firstNonFinite } from "../../tensor/finite.ts";
import { toBrainFloat, toHalf } from "../../tensor/half.ts";
import { sizeOf } from "../../tensor/tensor.ts";

/** Float dtypes that can be written. */
export type FloatDType = "F32" | "F16" | "BF16";

/** A tensor to write. A function as `data` is called when its turn comes, so that one tensor is held at a time. */
export interface SafetensorsInput {
  readonly name: string;
  readonly shape: readonly number[];
  readonly data: Float32Array | (() => Float32Array | Promise<Float32Array>);
}

export interface WriteSafetensorsOptions {
  /** Header metadata, e.g. `{ format: "pt" }`, which transformers wants to see. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** Default "F32". F16 and BF16 round to nearest even. */
  readonly dtype?: FloatDType;
  readonly onProgress?: OnProgress;
}

const DTYPE_BYTES: Readonly<Record<FloatDType, number>> = { F32: 4, F16: 2, BF16: 2 };

const encoders: Readonly<Record<FloatDType, (values: Float32Array) => Float32Array | Uint16Array>> = {
  F32: (values) => values,
  F16: toHalf,
  BF16: toBrainFloat,
};

/** @throws InputError for names that are given twice or reserved */
export function checkNames(path: string, tensors: readonly SafetensorsInput[]): void {
  const seen = new Set<string>();
  const problems: Problem[] = [];
  for (const { name } of tensors) {
    if (seen.has(name)) problems.push({ where: name, message: "is given twice" });
    if (name === "__metadata__") problems.push({ where: name, message: "is reserved by the format" });
    seen.add(name);
  }
  if (problems.length > 0) throw new InputError(`${path} cannot be written:`, problems);
}

/** Length and JSON, padded with spaces to 8 bytes so that the data is aligned. */
function encodeHeader(
  tensors: readonly Omit<SafetensorsInput, "data">[],
  options: WriteSafetensorsOptions,
): Uint8Array {
  const dtype = options.dtype ?? "F32";
  const fields: string[] = options.metadata ? [`"__metadata__":${JSON.stringify(options.metadata)}`] : [];
  let begin = 0;
  for (const { name, shape } of tensors) {
    const end = begin + sizeOf(shape) * DTYPE_BYTES[dtype];
    fields.push(`${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [begin, end] })}`);
    begin = end;
  }
  const json = new TextEncoder().encode(`{${fields.join(",")}}`);
  const padded = Math.ceil(json.length / 8) * 8;
  const bytes = new Uint8Array(8 + padded).fill(32);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(padded), true);
  bytes.set(json, 8);
  return bytes;
}

async function encodeTensor(tensor: SafetensorsInput, dtype: FloatDType): Promise<Uint8Array> {
  const values = typeof tensor.data === "function" ? await tensor.data() : tensor.data;
  if (values.length !== sizeOf(tensor.shape))
    throw new ShapeError(
      `"${tensor.name}" of shape [${tensor.shape}] needs ${sizeOf(tensor.shape)} elements, got ${values.length}`,
    );
  const encoded = encoders[dtype](values);
  if (dtype === "F16" && firstNonFinite(values) < 0) {
    const index = (encoded as Uint16Array).findIndex((bits) => (bits & 0x7c00) === 0x7c00);
    if (index >= 0)
      throw new InputError(`F16 cannot hold every weight:`, [
        { where: tensor.name, message: `${values[index]} is beyond ±65504; write BF16 or F32` },
      ]);
  }
  return new Uint8Array(encoded.buffer, encoded.byteOffset, encoded.byteLength);
}

/** Bytes of the file that `writeSafetensors` makes of tensors. */
export function safetensorsBytes(
  tensors: Iterable<Omit<SafetensorsInput, "data">>,
  options: WriteSafetensorsOptions = {},
): number {
  const list = [...tensors];
  const elements = list.reduce((sum, { shape }) => sum + sizeOf(shape), 0);
  return encodeHeader(list, options).length + elements * DTYPE_BYTES[options.dtype ?? "F32"];
}

/** The bytes of a safetensors file, piece by piece; tensors in the order given.
 *  @throws InputError for values that F16 cannot hold; ShapeError if data does not fit its shape */
export async function* safetensorsPieces(
  tensors: readonly SafetensorsInput[],
  options: WriteSafetensorsOptions = {},
): AsyncGenerator<Uint8Array> {
  const dtype = options.dtype ?? "F32";
  const totalBytes = tensors.reduce((sum, { shape }) => sum + sizeOf(shape) * DTYPE_BYTES[dtype], 0);
  yield encodeHeader(tensors, options);
  let doneBytes = 0;
  for (const tensor of tensors) {
    const bytes = await encodeTensor(tensor, dtype);
    yield bytes;
    doneBytes += bytes.length;
    options.onProgress?.({ what: tensor.name, doneBytes, totalBytes });
  }
}

/** A whole safetensors file in memory. @throws as `safetensorsPieces`, InputError for repeated names */
export async function encodeSafetensors(
  tensors: readonly SafetensorsInput[],
  options: WriteSafetensorsOptions = {},
): Promise<Uint8Array> {
  checkNames("the file", tensors);
  const pieces: Uint8Array[] = [];
  for await (const piece of safetensorsPieces(tensors, options)) pieces.push(piece);
  return concatBytes(pieces);
}

/** Element types that host tensors and graph values can have; uint4, two in a byte, in graphs only. */
export type DType = "float32" | "int32" | "int64" | "bool" | "uint8" | "uint32" | "uint4";

/** Typed array that holds a dtype on the host. */
export type TensorData = Float32Array | Int32Array | BigInt64Array | Uint8Array | Uint32Array;

const BYTES: Readonly<Record<DType, number>> = {
  float32: 4,
  int32: 4,
  int64: 8,
  bool: 1,
  uint8: 1,
  uint32: 4,
  uint4: 0.5,
};

/** Bytes per element. */
export function dtypeBytes(dtype: DType): number {
  return BYTES[dtype];
}

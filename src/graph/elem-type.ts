import type { DType } from "../tensor/dtype.ts";

/** Numbers of element types (onnx.proto3, TensorProto.DataType). */
export const ELEM_TYPE: Readonly<Record<DType, number>> = {
  float32: 1,
  uint8: 2,
  int32: 6,
  int64: 7,
  bool: 9,
  uint32: 12,
  uint4: 21,
};

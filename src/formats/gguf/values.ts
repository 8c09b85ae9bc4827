export type IntegerType = "uint8" | "int8" | "uint16" | "int16" | "uint32" | "int32" | "uint64" | "int64";

/** Types of a key's value, but for arrays. */
export type GgufScalarType = IntegerType | "float32" | "float64" | "bool" | "string";

/** A key's value with its type. */
export type GgufTyped =
  | { readonly type: IntegerType | "float32" | "float64"; readonly value: number | bigint }
  | { readonly type: "bool"; readonly value: boolean }
  | { readonly type: "string"; readonly value: string }
  | GgufArray;

/** Items of one type; arrays nest. */
export type GgufArray =
  | {
      readonly type: "array";
      readonly items: GgufScalarType;
      readonly value: readonly (number | bigint | boolean | string)[];
    }
  | { readonly type: "array"; readonly items: "array"; readonly value: readonly GgufArray[] };

/** Unsigned 32-bit integer, the type of sizes and ids. */
export function u32(value: number): GgufTyped {
  return { type: "uint32", value };
}

export function f32(value: number): GgufTyped {
  return { type: "float32", value };
}

export function text(value: string): GgufTyped {
  return { type: "string", value };
}

export function flag(value: boolean): GgufTyped {
  return { type: "bool", value };
}

export function list(
  items: GgufScalarType,
  value: readonly (number | bigint | boolean | string)[],
): GgufTyped {
  return { type: "array", items, value };
}

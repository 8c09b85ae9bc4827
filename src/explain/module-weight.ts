import { NotFoundError } from "../errors.ts";
import { hfModuleName } from "../formats/names.ts";
import type { BaseModel } from "../models/base.ts";
import type { ModuleSpec } from "../models/family.ts";
import type { FloatTensor } from "../tensor/tensor.ts";
import { transposed } from "../tensor/transpose.ts";

/** W of a module by its path (`layers.0.attention.q`) or its Hugging Face name (`model.layers.0.self_attn.q_proj`), as float32
 *  [out, in], the orientation of B·A: of an embedding [dimension, vocabulary]; of a tied output layer the embedding's. A quantized
 *  base gives the values that it computes with.
 *  @throws NotFoundError if the model has no linear layer or embedding of that name; FormatError if its file is cut off */
export async function moduleWeight(base: BaseModel, module: string): Promise<FloatTensor> {
  const spec = moduleOf(base, module);
  if (!spec || spec.kind === "norm")
    throw new NotFoundError(`${base.source.name} has no linear layer or embedding "${module}"`);
  const tied = spec.kind === "linear" ? spec.tiedTo : undefined;
  const weight = await base.weights.read(`${tied ?? spec.path}.weight`);
  return spec.kind === "embedding" ? transposed(weight) : weight;
}

/** A module by path or Hugging Face name. */
export function moduleOf(
  { modules, config }: Pick<BaseModel, "modules" | "config">,
  name: string,
): ModuleSpec | undefined {
  return modules.find((m) => m.path === name || hfModuleName(config.family, m.path) === name);
}

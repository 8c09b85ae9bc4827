import { type OpenBaseOptions, openSource } from "../../models/base-model.ts";
import { familyOf } from "../../models/families.ts";
import type { ModelShape } from "../model-shape.ts";
import { labelsOf } from "./adapter.ts";

/** The shape of an adapter's base, of which only headers are read; an encoder with the labels of the adapter's head. `path`: of
 *  the adapter. @throws as `openSource` */
export async function adapterShape(
  model: string,
  options: OpenBaseOptions,
  path: string,
): Promise<ModelShape> {
  const source = await openSource(model, options);
  try {
    const family = familyOf(source.config.family);
    const shape = { config: source.config, family, modules: family.modules(source.config), source };
    const classifier = await labelsOf(path, shape);
    if (!classifier || !shape.config.encoder) return shape;
    const config = { ...shape.config, encoder: { ...shape.config.encoder, classifier } };
    return { ...shape, config, modules: family.modules(config) };
  } finally {
    await source.close();
  }
}

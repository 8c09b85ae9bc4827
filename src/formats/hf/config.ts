import { UnsupportedError } from "../../errors.ts";
import { hfArchitecture } from "../architectures/table.ts";
import { fields } from "../fields.ts";
import type { ModelConfig } from "../model.ts";

/** Translates a transformers config.json (`json`, read from `file`) to ours.
 *  @throws UnsupportedError for an unknown architecture, listing the known ones, and for quantized checkpoints;
 *  InputError naming every missing or wrong key. */
export function parseHfConfig(json: Readonly<Record<string, unknown>>, file: string): ModelConfig {
  const config = fields(file, json);
  const listed = config.raw("architectures");
  const named = Array.isArray(listed) ? listed.map(String) : [];
  const { name, family, parse } = hfArchitecture(file, named, config.raw("model_type"));
  if (config.raw("quantization_config") !== undefined)
    throw new UnsupportedError(
      `${file}: the checkpoint is quantized (quantization_config); use its unquantized original or a .gguf file`,
    );
  const parsed = parse(config);
  config.finish();
  return { family, architecture: name, ...parsed };
}

import { FormatError } from "../../errors.ts";
import { utf8Length, utf8Of } from "../../io/bytes.ts";
import type { FloatTensor } from "../../tensor/tensor.ts";
import type { Classifier } from "../model.ts";
import { encodeSafetensors, safetensorsBytes, type WriteSafetensorsOptions } from "../safetensors/encode.ts";
import { type BaseIdentity, identityMetadata } from "./base-identity.ts";

export const ADAPTER_CONFIG = "adapter_config.json";
export const ADAPTER_WEIGHTS = "adapter_model.safetensors";
/** Of an encoder's adapter: what the outputs of its head are called. PEFT has no place for that, and passes it over. */
export const LABELS_FILE = "labels.json";

/** Key of a combination's own adapter_config.json: the names of its parts, each a subfolder. */
export const COMBINATION = "lowrank_methods";

/** Names of the parts of an adapter_config.json's combination, each a subfolder; null for an adapter of one method.
 *  @throws FormatError for a list that is none */
export function combinationParts(
  config: Readonly<Record<string, unknown>>,
  path: string,
): readonly string[] | null {
  const parts: unknown = config[COMBINATION];
  if (parts === undefined) return null;
  if (
    Array.isArray(parts) &&
    parts.length > 0 &&
    parts.every((p): p is string => typeof p === "string" && /^[\w-]+$/.test(p))
  )
    return parts;
  throw new FormatError(`${path}/${ADAPTER_CONFIG}`, `${COMBINATION}: expected a list of method names`);
}

/** How an adapter's weights are written. `base`: what they say they were trained on. */
export function weightsOptions(base: BaseIdentity | null): WriteSafetensorsOptions {
  return { metadata: { format: "pt", ...identityMetadata(base) } };
}

/** Bytes of the two files that `writeAdapterFolder` writes. */
export function adapterFolderBytes(
  config: string,
  tensors: ReadonlyMap<string, FloatTensor>,
  base: BaseIdentity | null = null,
): number {
  const inputs = [...tensors].map(([name, { shape }]) => ({ name, shape }));
  return utf8Length(config) + safetensorsBytes(inputs, weightsOptions(base));
}

/** The two files that `writeAdapterFolder` writes, by name. */
export async function adapterFolderFiles(
  config: string,
  tensors: ReadonlyMap<string, FloatTensor>,
  base: BaseIdentity | null = null,
): Promise<ReadonlyMap<string, Uint8Array>> {
  const inputs = [...tensors].map(([name, tensor]) => ({ name, ...tensor }));
  return new Map([
    [ADAPTER_CONFIG, utf8Of(config)],
    [ADAPTER_WEIGHTS, await encodeSafetensors(inputs, weightsOptions(base))],
  ]);
}

/** Content of an encoder's labels file. */
export function labelsText({ labels, kind }: Classifier): string {
  return `${JSON.stringify({ labels, kind }, null, 2)}\n`;
}

/** Bytes of the file that `writeLabels` writes. */
export function labelsBytes(classifier: Classifier): number {
  return utf8Length(labelsText(classifier));
}

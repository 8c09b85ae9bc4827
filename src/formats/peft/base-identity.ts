import { isObject } from "../../io/json.ts";
import type { ModelConfig, ModelSource } from "../model.ts";

/** What a model is, whatever its files are called and wherever they lie: written into the adapters that are trained on it. */
export interface BaseIdentity {
  readonly family: string;
  /** As the model's own files name it; a GGUF file names its family's, so that one of a copy in the other form may differ. */
  readonly architecture: string;
  readonly kind: ModelSource["kind"];
  /** Of the files' contents; null where they were not read. */
  readonly fingerprint: string | null;
}

/** Key in the metadata of adapter_model.safetensors, which PEFT leaves alone; of an unknown key in adapter_config.json it warns. */
const KEY = "lowrank_base";

/** Metadata that names a base. */
export function identityMetadata(base: BaseIdentity | null): Readonly<Record<string, string>> {
  return base === null ? {} : { [KEY]: JSON.stringify(base) };
}

/** The base that metadata names; null where they name none, or not so that it can be read. */
export function identityIn(metadata: Readonly<Record<string, string>>): BaseIdentity | null {
  let value: unknown;
  try {
    value = JSON.parse(metadata[KEY] ?? "null");
  } catch {
    return null;
  }
  if (!isObject(value)) return null;
  const { family, architecture, kind, fingerprint } = value;
  if (typeof family !== "string" || typeof architecture !== "string") return null;
  if (kind !== "folder" && kind !== "gguf") return null;
  return { family, architecture, kind, fingerprint: typeof fingerprint === "string" ? fingerprint : null };
}

/** The identity of a model that is open. */
export function identityOf(
  { family, architecture }: ModelConfig,
  kind: ModelSource["kind"],
  fingerprint: string | null,
): BaseIdentity {
  return { family, architecture, kind, fingerprint };
}

/** "same" by content; "other" by family, and for decoders in files of one kind by architecture (mistral is of the llama family);
 *  else it cannot be told. */
export function compareIdentity(
  a: BaseIdentity,
  b: BaseIdentity,
  isEncoder: boolean,
): "same" | "other" | "unknown" {
  if (a.family !== b.family) return "other";
  const areFolders = a.kind === "folder" && b.kind === "folder";
  if (areFolders && !isEncoder && a.architecture !== b.architecture) return "other";
  return a.fingerprint !== null && a.fingerprint === b.fingerprint ? "same" : "unknown";
}

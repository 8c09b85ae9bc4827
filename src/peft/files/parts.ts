import type { BaseIdentity } from "../../formats/peft/base-identity.ts";
import { adapterFolderBytes, adapterFolderFiles, COMBINATION } from "../../formats/peft/files.ts";
import type { AdapterText } from "../../formats/peft/text.ts";
import type { FloatTensor } from "../../tensor/tensor.ts";
import type { Method } from "../method.ts";
import { parameterCount, unflatten } from "../parameters.ts";

/** An adapter, fitted to a base model. */
export interface OpenedAdapter {
  /** Folder that holds its files, or a .gguf file. */
  readonly path: string;
  /** adapter_config.json as it stands; of a combination, that of the folder; of other formats, what PEFT's would be. */
  readonly config: Readonly<Record<string, unknown>>;
  /** What its weights say of the model that they were trained on; null for adapters of other programs. */
  readonly trainedOn: BaseIdentity | null;
  /** Things in its files that were passed over. */
  readonly warnings: readonly string[];
  readonly methods: readonly Method[];
  /** Its parameters as one flat vector, in the order of the methods' trainables. */
  readonly theta: Float32Array;
  /** What its folder says of the text it was trained on; null where it has no folder. */
  readonly text: AdapterText | null;
}

/** Bytes of the files that `writeMethods` writes. */
export function adapterBytes(
  methods: readonly Method[],
  baseModel: string | null,
  base: BaseIdentity | null = null,
): number {
  // Only shapes count; zeros that nobody touches take no memory.
  const theta = new Float32Array(parameterCount(methods.flatMap((m) => m.trainables)));
  return adapterParts(methods, theta, baseModel).reduce(
    (sum, { config, tensors }) => sum + adapterFolderBytes(config, tensors, base),
    0,
  );
}

/** The files that `writeMethods` writes, in memory, by their names. */
export async function methodFiles(
  methods: readonly Method[],
  theta: Float32Array,
  baseModel: string | null,
  base: BaseIdentity | null,
): Promise<Map<string, Uint8Array>> {
  const files = new Map<string, Uint8Array>();
  for (const { name: folder, config, tensors } of adapterParts(methods, theta, baseModel))
    for (const [name, bytes] of await adapterFolderFiles(config, tensors, base))
      files.set(folder === "" ? name : `${folder}/${name}`, bytes);
  return files;
}

/** Two files: those of one method, or of a combination's. */
export interface AdapterPart {
  /** Subfolder; "" for the folder itself. */
  readonly name: string;
  readonly config: string;
  readonly tensors: ReadonlyMap<string, FloatTensor>;
}

/** The files of trained parameters θ. One method: two files, whatever the method. Several: a subfolder each, and a configuration that
 *  lists them. */
export function adapterParts(
  methods: readonly Method[],
  theta: Float32Array,
  baseModel: string | null,
): AdapterPart[] {
  const values = unflatten(
    theta,
    methods.flatMap((m) => m.trainables),
  );
  const json = (config: Readonly<Record<string, unknown>>): string => `${JSON.stringify(config, null, 2)}\n`;
  const single = methods.length === 1;
  const parts = methods.map((m) => ({
    name: single ? "" : m.name,
    config: json(m.files.config(baseModel)),
    tensors: m.files.write(values),
  }));
  if (single) return parts;
  const config = { base_model_name_or_path: baseModel, [COMBINATION]: methods.map((m) => m.name) };
  return [...parts, { name: "", config: json(config), tensors: new Map() }];
}

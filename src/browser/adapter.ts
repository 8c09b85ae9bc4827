import { InputError } from "../errors.ts";
import { compareIdentity, identityIn } from "../formats/peft/base-identity.ts";
import { ADAPTER_CONFIG, ADAPTER_WEIGHTS, combinationParts } from "../formats/peft/files.ts";
import { type SafetensorsFile, safetensorsOf } from "../formats/safetensors/file.ts";
import { parseJsonObject } from "../io/json.ts";
import type { Storage } from "../io/storage/storage.ts";
import { inFolder } from "../io/storage/sub-storage.ts";
import type { OpenedAdapter } from "../peft/files/parts.ts";
import { openMethod } from "../peft/methods/table.ts";
import { baseIdentityOf, type ModelShape } from "../peft/model-shape.ts";
import { flatten } from "../peft/parameters.ts";
import type { FloatTensor } from "../tensor/tensor.ts";

/** Reads an adapter in PEFT's format (or a combination of ours) from a storage, and fits it to a model. The tokenizer and chat template
 *  that it may bring are passed over, which a warning says.
 *  @throws NotFoundError, FormatError, UnsupportedError; InputError listing everything that does not fit */
export async function openStoredAdapter(storage: Storage, shape: ModelShape): Promise<OpenedAdapter> {
  const config = await configOf(storage);
  const parts = combinationParts(config, storage.path)?.map((name) => inFolder(storage, name)) ?? [storage];
  const opened = await Promise.all(parts.map((part) => openPart(part, shape)));
  const methods = opened.map(({ method }) => method);
  const values = new Map(opened.flatMap((part) => [...part.values]));
  const trainedOn = opened[0]?.trainedOn ?? null;
  const own = baseIdentityOf(shape);
  if (trainedOn && own && compareIdentity(trainedOn, own, shape.config.encoder !== undefined) === "other")
    throw new InputError(`${storage.path}: the adapter does not fit the model`, [
      {
        where: "base model",
        message: `it was trained on ${trainedOn.architecture}, and the model is ${own.architecture}`,
      },
    ]);
  const passedOver = (await storage.size("tokenizer.json")) === null ? [] : [textNotice(storage)];
  return {
    path: storage.path,
    ...{ config, trainedOn, methods },
    warnings: [...passedOver, ...opened.flatMap(({ warnings }) => warnings)],
    theta: flatten(
      values,
      methods.flatMap((m) => m.trainables),
    ),
    text: null,
  };
}

function textNotice({ path }: Storage): string {
  return `${path}: its own tokenizer and chat template are passed over, the model's are used`;
}

async function configOf(storage: Storage): Promise<Readonly<Record<string, unknown>>> {
  return parseJsonObject(await storage.read(ADAPTER_CONFIG), storage.pathOf(ADAPTER_CONFIG));
}

async function openPart(storage: Storage, shape: ModelShape) {
  const opened = openMethod(await configOf(storage), shape, storage.pathOf(ADAPTER_CONFIG));
  const file = await safetensorsOf(await storage.open(ADAPTER_WEIGHTS));
  try {
    const values = opened.method.files.read(await tensorsOf(file), file.path);
    return { ...opened, values, trainedOn: identityIn(file.metadata) };
  } finally {
    await file.close();
  }
}

async function tensorsOf(file: SafetensorsFile): Promise<Map<string, FloatTensor>> {
  const tensors = new Map<string, FloatTensor>();
  for (const name of file.entries.keys()) tensors.set(name, await file.read(name));
  return tensors;
}

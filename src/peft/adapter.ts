import { InputError, type Problem } from "../errors.ts";
import { hfModuleName, isTransposed } from "../formats/names.ts";
import type { AdapterContent } from "../formats/peft-adapter.ts";
import type { ModuleTensors } from "../formats/peft-keys.ts";
import { type FloatTensor, floats } from "../tensor/tensor.ts";
import type { Lora } from "./lora.ts";
import { flatten, unflatten } from "./parameters.ts";

type Slot = keyof ModuleTensors;

/** Where a trainable of LoRA stands in an adapter file. */
interface Place {
  readonly name: string;
  readonly module: string;
  readonly slot: Slot;
  /** Stored the other way round: a whole weight of GPT-2's Conv1D. */
  readonly transposed: boolean;
}

function placesOf(lora: Lora, family: string): Place[] {
  const kinds = new Map(lora.plan.modules.map((m) => [m.path, m.kind]));
  const saved = new Set(lora.plan.saved.map((m) => m.path));
  return lora.trainables.map(({ name }) => {
    const dot = name.lastIndexOf(".");
    const [path, suffix] = [name.slice(0, dot), name.slice(dot + 1)];
    const embedding = kinds.get(path) === "embedding";
    const slots: Readonly<Record<string, Slot>> = {
      loraA: embedding ? "loraEmbeddingA" : "loraA",
      loraB: embedding ? "loraEmbeddingB" : "loraB",
      weight: "savedWeight",
      bias: saved.has(path) ? "savedBias" : "bias",
    };
    const transposed = suffix === "weight" && isTransposed(family, path);
    return { name, module: hfModuleName(family, path), slot: slots[suffix] as Slot, transposed };
  });
}

function turned(tensor: FloatTensor): FloatTensor {
  const [rows, columns] = tensor.shape as [number, number];
  const data = new Float32Array(rows * columns);
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++) data[j * rows + i] = tensor.data[i * columns + j] as number;
  return floats(data, [columns, rows]);
}

/** Trained parameters θ as an adapter to write. `baseModel` goes into the file. */
export function adapterContent(
  lora: Lora,
  family: string,
  theta: Float32Array,
  baseModel: string | null,
): AdapterContent {
  const values = unflatten(theta, lora.trainables);
  const tensors = new Map<string, Record<string, FloatTensor>>();
  for (const { name, module, slot, transposed } of placesOf(lora, family)) {
    const tensor = values.get(name) as FloatTensor;
    tensors.set(module, { ...tensors.get(module), [slot]: transposed ? turned(tensor) : tensor });
  }
  const fanInFanOut = lora.plan.modules.some((m) => isTransposed(family, m.path));
  return { config: { ...lora.config, baseModel, fanInFanOut }, tensors };
}

/** θ of an adapter file for a model that it was resolved against.
 *  @throws InputError listing every tensor that the model does not have, that is missing or that has another shape */
export function adapterParameters(
  lora: Lora,
  family: string,
  content: AdapterContent,
  where: string,
): Float32Array {
  const values = new Map<string, FloatTensor>();
  const problems: Problem[] = [];
  const wanted = new Set<string>();
  const shapes = new Map(lora.trainables.map((t) => [t.name, t.shape]));
  for (const { name, module, slot, transposed } of placesOf(lora, family)) {
    wanted.add(`${module} ${slot}`);
    const stored = content.tensors.get(module)?.[slot];
    const tensor = stored && transposed ? turned(stored) : stored;
    if (!tensor) problems.push({ where: `${module} (${slot})`, message: "is not in the adapter" });
    else if (`${tensor.shape}` !== `${shapes.get(name)}`)
      problems.push({
        where: `${module} (${slot})`,
        message: `expected shape [${shapes.get(name)}] for this model, got [${tensor.shape}]`,
      });
    else values.set(name, tensor);
  }
  // PEFT saves a copy of the base's weight under an adapted embedding or head.
  for (const [module, slots] of content.tensors)
    for (const slot of Object.keys(slots))
      if (slot !== "baseWeight" && !wanted.has(`${module} ${slot}`))
        problems.push({ where: `${module} (${slot})`, message: "has no place in this model" });
  if (problems.length > 0) throw new InputError(`${where}: the adapter does not fit the model`, problems);
  return flatten(values, lora.trainables);
}

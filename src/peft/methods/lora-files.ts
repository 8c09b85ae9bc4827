import { InputError, type Problem } from "../../errors.ts";
import { namesOf } from "../../formats/architectures/table.ts";
import { hfModuleName, isTransposed } from "../../formats/names.ts";
import { type LoraConfig, peftConfigText } from "../../formats/peft/config.ts";
import {
  checkTensors,
  type ModuleTensors,
  placementOf,
  tensorKeys,
  tensorProblems,
} from "../../formats/peft/keys.ts";
import { savedConfig } from "../../formats/peft/save.ts";
import { type ModuleSpec, outputModule } from "../../models/family.ts";
import { type FloatTensor, floats } from "../../tensor/tensor.ts";
import { transposed } from "../../tensor/transpose.ts";
import type { AdapterTensors, Trainable } from "../method.ts";
import type { LoraPlan } from "./lora-plan.ts";

type Slot = keyof ModuleTensors;

/** Where a trainable of LoRA stands in an adapter file. */
interface Place {
  readonly trainable: Trainable;
  readonly module: string;
  readonly slot: Slot;
  /** Stored the other way round: a whole weight of GPT-2's Conv1D. */
  readonly isTurned: boolean;
}

function placesOf(plan: LoraPlan, trainables: readonly Trainable[], family: string): Place[] {
  const kinds = new Map(plan.modules.map((m) => [m.path, m.kind]));
  const saved = new Set(plan.saved.map((m) => m.path));
  return trainables.map((trainable) => {
    const dot = trainable.name.lastIndexOf(".");
    const [path, suffix] = [trainable.name.slice(0, dot), trainable.name.slice(dot + 1)];
    const embedding = kinds.get(path) === "embedding";
    const slots: Readonly<Record<string, Slot>> = {
      loraA: embedding ? "loraEmbeddingA" : "loraA",
      loraB: embedding ? "loraEmbeddingB" : "loraB",
      loraBias: "loraBias",
      magnitude: "magnitude",
      weight: "savedWeight",
      bias: saved.has(path) ? "savedBias" : "bias",
    };
    const isTurned = suffix === "weight" && isTransposed(family, path);
    return { trainable, module: hfModuleName(family, path), slot: slots[suffix] as Slot, isTurned };
  });
}

function byModule(
  places: readonly Place[],
  tensorOf: (t: Trainable) => FloatTensor,
): Map<string, ModuleTensors> {
  const modules = new Map<string, ModuleTensors>();
  for (const { trainable, module, slot, isTurned } of places) {
    const tensor = tensorOf(trainable);
    modules.set(module, { ...modules.get(module), [slot]: isTurned ? transposed(tensor) : tensor });
  }
  return modules;
}

/** LoRA in PEFT's files. */
export function loraFiles(
  config: LoraConfig,
  plan: LoraPlan,
  trainables: readonly Trainable[],
  family: string,
  base: readonly ModuleSpec[],
): AdapterTensors {
  const places = placesOf(plan, trainables, family);
  return {
    config: (baseModel) => {
      const fanInFanOut = plan.modules.some((m) => isTransposed(family, m.path));
      const placeholder = floats(new Float32Array(1), [1, 1]); // only which tensors there are counts
      const names = byModule(places, () => placeholder);
      const complete = { ...config, baseModel, fanInFanOut };
      return JSON.parse(peftConfigText(savedConfig({ config: complete, tensors: names })));
    },
    write: (values) => {
      const modules = byModule(places, (t) => values.get(t.name) as FloatTensor);
      checkTensors("adapter", modules, config);
      return new Map(tensorKeys(modules).map(({ key, tensor }) => [key, tensor]));
    },
    read: (tensors, where) => readValues(config, places, tensors, where, () => rowsOf(base, family)),
  };
}

/** Rows of the embedding and of the output layer, by module: tokens that the model has. */
function rowsOf(base: readonly ModuleSpec[], family: string): Map<string, number> {
  const [embedding, output] = [base.find((m) => m.kind === "embedding"), outputModule(base)];
  const rows = embedding?.kind === "embedding" ? embedding.count : 0;
  const named = [embedding, output].flatMap((m) => (m ? [hfModuleName(family, m.path)] : []));
  // A decoder whose output layer is the embedding has no module for it.
  const head = namesOf(family)
    .rows.filter(({ ours }) => ours === "head")
    .map(({ hf }) => hf);
  return new Map([...named, ...head].map((name) => [name, rows]));
}

/** Why a tensor has no place. @param rows tokens of the model, if the module has a row for each */
function superfluous(weight: FloatTensor | undefined, rows: number | undefined): string {
  const [got] = weight?.shape ?? [];
  if (rows === undefined || got === undefined || got === rows) return "has no place in this model";
  return `has ${got} rows, and the model ${rows}: tokens were added in training, which is not supported`;
}

/** Every tensor in its place. @throws InputError listing every key without a meaning and every tensor that is missing, in
 *  excess, or does not fit adapter or model */
function readValues(
  config: LoraConfig,
  places: readonly Place[],
  tensors: ReadonlyMap<string, FloatTensor>,
  where: string,
  rows: () => ReadonlyMap<string, number>,
): Map<string, FloatTensor> {
  const { placed, problems: unplaced } = placementOf(where, [...tensors.keys()], config);
  const modules = new Map<string, ModuleTensors>();
  for (const { module, slot, key } of placed)
    modules.set(module, { ...modules.get(module), [slot]: tensors.get(key) as FloatTensor });
  const misfits = tensorProblems(modules, config);
  const isKnown = (module: string): boolean =>
    misfits.some((p) => p.where === module || p.where.startsWith(`${module}.`));
  const { values, problems } = fitted(places, modules, isKnown, rows);
  const all = [...unplaced, ...misfits, ...problems];
  if (all.length > 0) throw new InputError(`${where}: the adapter does not fit the model`, all);
  return values;
}

/** The values of the places, and what does not fit there; `isKnown`: modules of which something worse is said already. */
function fitted(
  places: readonly Place[],
  modules: ReadonlyMap<string, ModuleTensors>,
  isKnown: (module: string) => boolean,
  rows: () => ReadonlyMap<string, number>,
): { readonly values: Map<string, FloatTensor>; readonly problems: Problem[] } {
  const values = new Map<string, FloatTensor>();
  const problems: Problem[] = [];
  const problem = (module: string, slot: string, message: string): void => {
    if (!isKnown(module)) problems.push({ where: `${module} (${slot})`, message });
  };
  const wanted = new Set(places.map((p) => `${p.module} ${p.slot}`));
  for (const { trainable, module, slot, isTurned } of places) {
    const stored = modules.get(module)?.[slot];
    const tensor = stored && isTurned ? transposed(stored) : stored;
    if (!tensor) problem(module, slot, "is not in the adapter");
    else if (`${tensor.shape}` === `${trainable.shape}`) values.set(trainable.name, tensor);
    else problem(module, slot, `expected shape [${trainable.shape}] for this model, got [${tensor.shape}]`);
  }
  // PEFT saves a copy of the base's weight under an adapted embedding or head.
  for (const [module, slots] of modules)
    for (const slot of Object.keys(slots))
      if (slot !== "baseWeight" && !wanted.has(`${module} ${slot}`))
        problem(module, slot, superfluous(slots.savedWeight, rows().get(module)));
  return { values, problems };
}

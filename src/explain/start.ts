import { join } from "node:path";
import { LowrankError } from "../errors.ts";
import type { LoraFactors } from "../formats/lora-factors.ts";
import { exists } from "../io/download.ts";
import type { BaseModel } from "../models/base.ts";
import { createMethods } from "../peft/methods/table.ts";
import { initialParameters, unflatten } from "../peft/parameters.ts";
import {
  resolveTrainConfig,
  type TrainConfig,
  type TrainOptions,
  trainConfig,
} from "../train/config/config.ts";
import { CONFIG_FILE, readConfigFile } from "../train/config/file.ts";
import { trainingUse } from "../train/plan.ts";
import { taskOf } from "../train/tasks/table.ts";

/** LoRA's factors at step 0 of a run with these options, by module path: A is noise there and B is 0 (LoRA §4.1), so what trained
 *  adapters have in common counts only beyond what these have. Empty for methods whose update is no product of factors.
 *  @throws InputError if the options do not hold or do not fit the model */
export async function initialFactors(
  base: BaseModel,
  options: TrainOptions,
): Promise<ReadonlyMap<string, LoraFactors>> {
  return factorsAtStart(base, trainConfig(options));
}

async function factorsAtStart(
  base: BaseModel,
  config: TrainConfig,
): Promise<ReadonlyMap<string, LoraFactors>> {
  const methods = createMethods(config.method, config, base, trainingUse(base, taskOf(base)));
  const found = new Map<string, LoraFactors>();
  for (const method of methods) {
    const theta = await initialParameters(method.trainables, config.seed, base.weights.read);
    const values = unflatten(theta, method.trainables);
    for (const f of method.factors((name) => values.get(name) as LoraFactors["a"]) ?? [])
      found.set(f.path, f);
  }
  return found;
}

/** The factors that the adapter of a run started with; null for one in no run folder, or in one whose options no longer hold.
 *  `path`: the adapter's. */
export async function factorsAtStartOf(
  path: string,
  base: BaseModel | null,
): Promise<ReadonlyMap<string, LoraFactors> | null> {
  const options = join(path, "..", CONFIG_FILE);
  if (base === null || !(await exists(options))) return null;
  try {
    return await factorsAtStart(base, resolveTrainConfig([await readConfigFile(options)]));
  } catch (error) {
    if (error instanceof LowrankError) return null;
    throw error;
  }
}

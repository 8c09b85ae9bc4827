import type { EncodedDataset } from "../data/examples.ts";
import { TrainingError } from "../errors.ts";
import { sha256Hex } from "../io/sha256.ts";
import type { BaseModel } from "../models/base.ts";
import { type AdaptedModel, trainablesOf } from "../peft/use/adapted-model.ts";
import type { RunIdentity } from "./checkpoint.ts";

/** Identity of a planned run. */
export function runIdentityOf(
  base: Pick<BaseModel, "weights">,
  train: Pick<EncodedDataset, "digest">,
  model: Pick<AdaptedModel, "methods">,
): RunIdentity {
  const trainables = trainablesOf(model.methods).map(({ name, shape }) => [name, shape]);
  return {
    model: base.weights.fingerprint,
    data: train.digest,
    adapter: sha256Hex(JSON.stringify(trainables)),
  };
}

/** Compares a checkpoint's identity with the run that is to go on from it; returns a warning or null. Other model files
 *  may hold the same weights (a copy), so they are no error.
 *  @throws TrainingError if data or adapter are not the same */
export function checkIdentity(before: RunIdentity, now: RunIdentity, folder: string): string | null {
  const changed: string[] = [];
  if (before.data !== now.data) changed.push("the training data give other examples than at its start");
  if (before.adapter !== now.adapter)
    changed.push("the options or the model give an adapter of other shapes");
  if (changed.length > 0)
    throw new TrainingError(
      `the run in ${folder} cannot go on: ${changed.join(", and ")}. Bring back what it started with, or start a new run`,
    );
  if (before.model === now.model) return null;
  return "the model's files are not those that this run started with (other content or configuration): if their weights differ, so will the results";
}

/** @throws TrainingError if members have other data or another model than the first */
export function checkAlike([first, ...others]: readonly RunIdentity[]): void {
  for (const [i, other] of others.entries())
    for (const part of ["model", "data", "adapter"] as const)
      if (other[part] !== first?.[part])
        throw new TrainingError(
          `rank ${i + 1} has another ${part} than rank 0: all must read the same files`,
        );
}

/** @throws TrainingError if members compute on different devices: what they round would differ */
export function checkSameDevice(devices: readonly string[]): void {
  if (devices.every((device) => device === devices[0])) return;
  const list = devices.map((device, rank) => `rank ${rank}: ${device}`).join(", ");
  throw new TrainingError(
    `the processes would compute on different devices (${list}); --device names one for all`,
  );
}

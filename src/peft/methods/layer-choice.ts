import { InputError } from "../../errors.ts";

/** Some of a model's layers by number; null for the whole model, what is outside of layers included. */
export type LayerChoice = readonly number[] | null;

/** Number of the layer that a path lies in (`layers.3.mlp.up` → 3); null for embeddings, final norm and head. */
function layerOf(path: string): number | null {
  const index = /^layers\.(\d+)(?:\.|$)/.exec(path)?.[1];
  return index === undefined ? null : Number(index);
}

/** Whether a path belongs to the chosen layers. */
export function inLayers(layers: LayerChoice): (path: string) => boolean {
  if (layers === null) return () => true;
  return (path) => layers.includes(layerOf(path) ?? -1);
}

/** The last n layers by number. @throws InputError if the model has fewer */
export function lastOf(n: number, layerCount: number): readonly number[] {
  if (n > layerCount) throw missingLayers([`last:${n}`], layerCount);
  return Array.from({ length: n }, (_, i) => layerCount - n + i);
}

/** @throws InputError naming the chosen layers that a model does not have */
export function checkLayers(layers: LayerChoice, layerCount: number): LayerChoice {
  const wrong = (layers ?? []).filter((i) => i >= layerCount);
  if (wrong.length > 0) throw missingLayers(wrong.map(String), layerCount);
  return layers;
}

function missingLayers(wrong: readonly string[], layerCount: number): InputError {
  const message = `expected layers 0 to ${layerCount - 1} of this model, got ${wrong.join(", ")}`;
  return new InputError("the options do not fit the model", [{ where: "layers", message }]);
}

/** `layers` of our own adapter configurations. @throws InputError if it is no such list, or names others than the model's */
export function readLayers(
  json: Readonly<Record<string, unknown>>,
  layerCount: number,
  where: string,
): LayerChoice {
  const { layers = null } = json;
  if (layers === null) return null;
  if (Array.isArray(layers) && layers.every((i) => Number.isInteger(i) && i >= 0 && i < layerCount))
    return layers;
  const message = `expected null or a list of layers from 0 to ${layerCount - 1}, got ${JSON.stringify(layers)}`;
  throw new InputError(`${where}: the adapter configuration does not fit the model`, [
    { where: "layers", message },
  ]);
}

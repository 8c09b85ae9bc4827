import { hfModuleName } from "../formats/names.ts";
import type { BaseModel } from "../models/base.ts";
import type { Trainable } from "../peft/method.ts";
import type { TrainedPlace } from "./events.ts";

/** Where the trained tensors of methods lie, in their order: one place for all layers. */
export function trainedPlaces(
  trainables: readonly Trainable[],
  { config, modules }: Pick<BaseModel, "config" | "modules">,
): TrainedPlace[] {
  const paths = new Set(modules.map(({ path }) => path));
  const owners = new Set(
    trainables.filter(({ fixed }) => !fixed).map(({ name }) => name.replace(/\.[^.]+$/, "")),
  );
  const counts = new Map<string, number>();
  for (const owner of owners) {
    const name = paths.has(owner) ? hfModuleName(config.family, owner) : owner;
    const place = name.replace(/\.\d+\./, ".*.");
    counts.set(place, (counts.get(place) ?? 0) + 1);
  }
  return [...counts].map(([name, count]) => ({ name, count }));
}

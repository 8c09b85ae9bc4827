import { type AdapterUpdates, adapterUpdates, type ModuleUpdate } from "lowrank";
import type { Lab } from "../lab/lab.ts";

/** Opens adapters for analysis, with the base's weights, and closes them afterwards. */
export async function withUpdates<T>(
  lab: Lab,
  adapters: readonly (() => Promise<string>)[],
  work: (...updates: AdapterUpdates[]) => Promise<T>,
): Promise<T> {
  const opened: AdapterUpdates[] = [];
  try {
    for (const adapter of adapters)
      opened.push(await adapterUpdates(await adapter(), { model: lab.model, offline: true }));
    return await work(...opened);
  } finally {
    for (const one of opened) await one.close();
  }
}

/** The update of a module. */
export function updateOf({ modules }: AdapterUpdates, path: string): ModuleUpdate {
  const found = modules.find((m) => m.path === path);
  if (!found) throw new Error(`the adapter has no update of ${path}`);
  return found;
}

/** First, middle and last of some layers. */
export function threeOf(layers: number): number[] {
  return [...new Set([0, Math.floor((layers - 1) / 2), layers - 1])];
}

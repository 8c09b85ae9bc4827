import type { Pooling } from "../formats/hf/pooling.ts";
import { KNOWN_MODELS, type KnownModel } from "./known-models.ts";

/** A known model by its alias or its Hub id, so that either name works where the Hub cannot be reached. */
export function knownModel(name: string): KnownModel | undefined {
  return KNOWN_MODELS.find((m) => m.alias === name.toLowerCase() || m.hubId === name);
}

/** The name to write into an adapter as its base: the Hub id of a known alias, which other programs understand too. */
export function publicModelName(name: string): string {
  return knownModel(name)?.hubId ?? name;
}

/** Licence of a model, where it is known. */
export function licenceOf(name: string): string | null {
  return knownModel(name)?.licence ?? null;
}

/** How embeddings of a model are made, where that is known without its files. */
export function poolingOf(name: string): Pooling | null {
  return knownModel(name)?.pooling ?? null;
}

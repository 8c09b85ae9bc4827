/** Layers of src, the lowest first. */
export const LAYERS: readonly (readonly string[])[];
/** The text of biome.json with the import rules of the table. */
export function withRules(text: string): unknown;

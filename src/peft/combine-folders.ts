import { InputError } from "../errors.ts";
import { readAdapter, writeAdapter } from "../formats/peft-adapter.ts";
import { publicModelName, resolveAdapter } from "../formats/resolve.ts";
import { type CombineOptions, combineAdapters } from "./combine.ts";

/** What was written. */
export interface CombinedFolder {
  readonly rank: number;
  /** Modules that the combined adapter changes. */
  readonly modules: number;
}

/** Combines LoRA adapters on disk (folders, run folders or Hub ids, with factors) into one adapter folder.
 *  @throws InputError if they are for different bases or cannot be combined; what reading and writing throw */
export async function combineFolders(
  adapters: Readonly<Record<string, number>>,
  output: string,
  options: CombineOptions,
  access: { readonly offline?: boolean } = {},
): Promise<CombinedFolder> {
  const parts = await Promise.all(
    Object.entries(adapters).map(async ([name, weight]) => {
      const folder = await resolveAdapter(name, { offline: access.offline ?? false });
      return { adapter: await readAdapter(folder), weight, name };
    }),
  );
  const baseOf = (base: string | null): string | null => (base === null ? null : publicModelName(base));
  const bases = new Map(parts.map((p) => [baseOf(p.adapter.config.baseModel), p.name]));
  if (bases.size > 1) {
    const problems = [...bases].map(([base, name]) => ({
      where: name,
      message: `is for ${base ?? "no named base"}`,
    }));
    throw new InputError("the adapters are for different base models", problems);
  }
  const combined = combineAdapters(parts, options);
  await writeAdapter(output, combined);
  return { rank: combined.config.rank, modules: combined.tensors.size };
}

import { InputError } from "../errors.ts";
import { cardTable } from "../formats/model-card.ts";
import { readAdapter, writeAdapter } from "../formats/peft-adapter.ts";
import { publicModelName, resolveAdapter } from "../formats/resolve.ts";
import { shownName, writeAdapterCard } from "./adapter-card.ts";
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
  const { rank, baseModel } = combined.config;
  const names = await Promise.all(parts.map((p) => shownName(p.name)));
  await writeAdapterCard(output, {
    title: names.join(" + "),
    summary: `LoRA of rank ${rank}, combined by lowrank (${options.kind}).`,
    baseModel,
    methods: ["lora"],
    library: "peft",
    sections: [`## Parts\n\n${cardTable(parts.map((p, i) => [names[i] as string, String(p.weight)]))}`],
  });
  return { rank, modules: combined.tensors.size };
}

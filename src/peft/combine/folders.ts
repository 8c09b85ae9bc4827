import { InputError } from "../../errors.ts";
import { cardTable } from "../../formats/hf/card.ts";
import { requireFreeFolder } from "../../formats/hf/save.ts";
import { type AdapterContent, writeAdapter } from "../../formats/peft/adapter.ts";
import { copyAdapterText } from "../../formats/peft/text.ts";
import { publicModelName } from "../../hub/known-names.ts";
import { resolveAdapter } from "../../hub/resolve.ts";
import { shownName, writeAdapterCard } from "../files/card.ts";
import type { CombineAccess } from "./access.ts";
import { type CombineOptions, combineAdapters } from "./combine.ts";
import { readAnyAdapter } from "./read-any.ts";

/** What was written. */
export interface CombinedFolder {
  readonly rank: number;
  /** Modules that the combined adapter changes. */
  readonly modules: number;
}

/** Combines LoRA adapters on disk (folders of PEFT or mlx-lm, run folders, .gguf files or Hub ids, with factors) into one
 *  new adapter folder.
 *  @throws InputError if the folder is not empty, or if they are for different bases or cannot be combined; what reading and
 *  writing throw */
export async function combineFolders(
  adapters: Readonly<Record<string, number>>,
  output: string,
  options: CombineOptions,
  access: CombineAccess = {},
): Promise<CombinedFolder> {
  await requireFreeFolder(output);
  const { offline = false, cacheFolder: cacheDir } = access;
  const parts = await Promise.all(
    Object.entries(adapters).map(async ([name, weight]) => {
      const path = await resolveAdapter(name, { offline, cacheDir });
      return { adapter: await readAnyAdapter(path, name, access), weight, name, path };
    }),
  );
  if (access.model === undefined) checkBases(parts);
  const combined = combineAdapters(parts, options);
  const { rank } = combined.config;
  const baseModel = access.model === undefined ? combined.config.baseModel : publicModelName(access.model);
  await writeAdapter(output, { ...combined, config: { ...combined.config, baseModel } });
  // As in use: the text of the first counts.
  const [first] = parts;
  if (first !== undefined && !first.path.endsWith(".gguf")) await copyAdapterText(first.path, output);
  const names = await Promise.all(parts.map((p) => shownName(p.name)));
  await writeAdapterCard(output, {
    title: names.join(" + "),
    summary: `LoRA of rank ${rank}, combined by lowrank (${options.kind}).`,
    baseModel,
    methods: ["lora"],
    library: "peft",
    classifier: null, // a head of its own is refused
    sections: [`## Parts\n\n${cardTable(parts.map((p, i) => [names[i] as string, String(p.weight)]))}`],
  });
  return { rank, modules: combined.tensors.size };
}

/** @throws InputError if the adapters name different bases */
function checkBases(parts: readonly { readonly adapter: AdapterContent; readonly name: string }[]): void {
  const baseOf = (base: string | null): string | null => (base === null ? null : publicModelName(base));
  const bases = new Map(parts.map((p) => [baseOf(p.adapter.config.baseModel), p.name]));
  if (bases.size < 2) return;
  const problems = [...bases].map(([base, name]) => ({
    where: name,
    message: `is for ${base ?? "no named base"}`,
  }));
  throw new InputError("the adapters are for different base models", problems);
}

import { InputError } from "../../errors.ts";
import { baseModelOfAdapter, isForeignAdapter, readForeignAdapter } from "../../formats/foreign-adapter.ts";
import { cardTable } from "../../formats/hf/card.ts";
import { requireFreeFolder } from "../../formats/hf/save.ts";
import {
  type AdapterContent,
  adapterOfFiles,
  readAdapter,
  writeAdapter,
} from "../../formats/peft/adapter.ts";
import { copyAdapterText } from "../../formats/peft/text.ts";
import { publicModelName, resolveAdapter } from "../../hub/resolve.ts";
import { type OpenBaseOptions, openSource } from "../../models/base-model.ts";
import { shownName, writeAdapterCard } from "../files/card.ts";
import { type CombineOptions, combineAdapters } from "./combine.ts";

/** How to find the adapters, and the base that they are for. */
export interface CombineAccess extends OpenBaseOptions {
  /** The base model: what the result names, whatever the adapters name; default: the one that they all name. Of adapters in
   *  formats other than PEFT's the shape of the base must be known, of which only the configuration is read. */
  readonly model?: string;
}

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
      return { adapter: await readAny(path, name, access), weight, name, path };
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

/** An adapter in any format, as PEFT would have written it. */
async function readAny(path: string, name: string, access: CombineAccess): Promise<AdapterContent> {
  if (!(await isForeignAdapter(path))) return readAdapter(path);
  const base = access.model ?? (await baseModelOfAdapter(path));
  if (base === null)
    throw new InputError("the adapters cannot be combined", [
      { where: name, message: "names no base model: give the one that it is for" },
    ]);
  const source = await openSource(base, access);
  try {
    const files = await readForeignAdapter(path, source.config);
    return files === null ? await readAdapter(path) : adapterOfFiles(files, path);
  } finally {
    await source.close();
  }
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

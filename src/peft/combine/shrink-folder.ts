import { cardTable } from "../../formats/hf/card.ts";
import { requireFreeFolder } from "../../formats/hf/save.ts";
import { writeAdapter } from "../../formats/peft/adapter.ts";
import { baseOfWeights } from "../../formats/peft/folder.ts";
import { readLabelsFile, writeLabels } from "../../formats/peft/labels.ts";
import { copyAdapterText } from "../../formats/peft/text.ts";
import { publicModelName } from "../../hub/known-names.ts";
import { resolveAdapter } from "../../hub/resolve.ts";
import { resolveOptions } from "../../models/base-model.ts";
import { shownName, writeAdapterCard } from "../files/card.ts";
import type { CombineAccess } from "./access.ts";
import { readAnyAdapter } from "./read-any.ts";
import { type ShrinkOptions, type ShrunkAdapter, shrinkAdapter } from "./shrink.ts";

/** Writes a LoRA adapter on disk (a folder of PEFT or mlx-lm, a run folder, a .gguf file or a Hub id) in fewer ranks, as a new folder in
 *  PEFT's format.
 *  @throws InputError if the folder is not empty, or nothing would become smaller; UnsupportedError for other methods than LoRA; what
 *  reading and writing throw */
export async function shrinkFolder(
  adapter: string,
  output: string,
  options: ShrinkOptions,
  access: CombineAccess = {},
): Promise<ShrunkAdapter> {
  await requireFreeFolder(output);
  const path = await resolveAdapter(adapter, resolveOptions(access));
  const before = await readAnyAdapter(path, adapter, access);
  const shrunk = shrinkAdapter(before, options);
  const { config, tensors } = shrunk.content;
  const baseModel = access.model === undefined ? config.baseModel : publicModelName(access.model);
  const isFolder = !path.endsWith(".gguf");
  const base = isFolder ? await baseOfWeights(path) : null;
  await writeAdapter(output, { config: { ...config, baseModel }, tensors }, { base });
  const classifier = isFolder ? await readLabelsFile(path) : null;
  if (classifier !== null) await writeLabels(output, classifier);
  if (isFolder) await copyAdapterText(path, output);
  const name = await shownName(adapter);
  const rank = rangeOf(shrunk.modules.map((m) => m.rank));
  await writeAdapterCard(output, {
    title: `${name}, rank ${rank}`,
    summary: `LoRA of ${shrunk.modules.length} modules, ${name} in fewer ranks by lowrank (truncated SVD of B·A).`,
    baseModel,
    methods: ["lora"],
    library: "peft",
    classifier,
    sections: [`## Size\n\n${cardTable(sizeRows(shrunk, rank))}`],
  });
  return shrunk;
}

function sizeRows({ modules, relativeError }: ShrunkAdapter, rank: string): [string, string][] {
  return [
    ["rank before", rangeOf(modules.map((m) => m.before))],
    ["rank", rank],
    ["‖ΔW − ΔW'‖ / ‖ΔW‖", relativeError.toPrecision(3)],
  ];
}

/** "8", or "2 to 8". */
export function rangeOf(ranks: readonly number[]): string {
  const [least, most] = [Math.min(...ranks), Math.max(...ranks)];
  return least === most ? `${most}` : `${least} to ${most}`;
}

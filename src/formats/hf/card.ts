import { join } from "node:path";
import { parse, stringify } from "yaml";
import { readBytesIfThere, writeFileAtomic } from "../../io/disk.ts";
import { isObject } from "../../io/json.ts";

export const CARD_FILE = "README.md";

/** A card that holds this line may be written anew; without it, it is someone's own text and stays. */
const OURS = "<!-- Written by lowrank, which writes it anew unless this line is removed. -->";

/** What the Hub reads of a card (huggingface.co/docs/hub/model-cards); what is null or empty is left out. */
export interface CardMetadata {
  /** Hub id; the Hub refuses other names. */
  readonly baseModel: string | null;
  readonly baseModelRelation: "adapter" | "finetune";
  /** Hub ids of the training data. */
  readonly datasets: readonly string[];
  /** SPDX-like name as the Hub has it, "apache-2.0". */
  readonly license: string | null;
  /** Program that loads the files. */
  readonly library: "peft" | "mlx" | "transformers" | "lowrank";
  readonly task: "text-generation" | "text-classification";
  readonly tags: readonly string[];
}

function frontMatter(card: CardMetadata): string {
  const { baseModel, datasets, license, library } = card;
  const base = baseModel === null ? [] : [`base_model:${card.baseModelRelation}:${baseModel}`];
  const tags = [...new Set([...base, ...card.tags, "lowrank"])].sort();
  return stringify({
    ...(baseModel === null ? {} : { base_model: baseModel, base_model_relation: card.baseModelRelation }),
    ...(datasets.length === 0 ? {} : { datasets }),
    library_name: library,
    ...(license === null ? {} : { license }),
    pipeline_tag: card.task,
    tags,
  });
}

/** A table of names and values; texts may not break out of it. */
export function cardTable(rows: readonly (readonly [string, string])[]): string {
  const cell = (text: string): string =>
    text.replace(/\s+/g, " ").replaceAll("|", "\\|").replaceAll("<", "&lt;");
  return ["| | |", "|-|-|", ...rows.map(([name, value]) => `| ${cell(name)} | ${cell(value)} |`)].join("\n");
}

/** Writes a folder's card, in front of which the Hub's metadata stand; one that is not lowrank's is left as it is.
 *  Returns whether it was written. @throws LowrankError ("storage") if the disk does not take it */
export async function writeCard(folder: string, metadata: CardMetadata, body: string): Promise<boolean> {
  const path = join(folder, CARD_FILE);
  const there = await readBytesIfThere(path);
  if (there !== null && !Buffer.from(there).includes(OURS)) return false;
  await writeFileAtomic(path, `---\n${frontMatter(metadata)}---\n${OURS}\n\n${body.trim()}\n`);
  return true;
}

/** Names of the data sets that a folder's card states, whoever wrote it; none where there is no card, or none that can be read. */
export async function cardDatasets(folder: string): Promise<readonly string[]> {
  const bytes = await readBytesIfThere(join(folder, CARD_FILE)).catch(() => null);
  const [, front] = /^---\r?\n([\s\S]*?)\n---/.exec(Buffer.from(bytes ?? []).toString("utf8")) ?? [];
  try {
    const metadata: unknown = parse(front ?? "", { maxAliasCount: 0 });
    const named: unknown = isObject(metadata) ? metadata.datasets : [];
    return [named].flat().filter((name): name is string => typeof name === "string");
  } catch {
    return [];
  }
}

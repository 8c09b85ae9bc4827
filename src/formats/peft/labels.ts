import { join } from "node:path";
import { z } from "zod";
import { FormatError } from "../../errors.ts";
import { readBytesIfThere, writeFileAtomic } from "../../io/disk.ts";
import { exists } from "../../io/download.ts";
import { parseJsonObject } from "../../io/json.ts";
import type { Classifier } from "../model.ts";
import { openSafetensors } from "../safetensors/read.ts";
import { ADAPTER_WEIGHTS, LABELS_FILE, labelsText } from "./files.ts";

const FILE = z.strictObject({ labels: z.array(z.string()).min(1), kind: z.enum(["classes", "value"]) });

/** Writes the labels of an adapter's head into its folder. @throws FormatError if the disk fails */
export async function writeLabels(folder: string, classifier: Classifier): Promise<void> {
  await writeFileAtomic(join(folder, LABELS_FILE), labelsText(classifier));
}

/** What an adapter's labels file says; null where there is none. @throws FormatError if it is damaged */
export async function readLabelsFile(folder: string): Promise<Classifier | null> {
  const path = join(folder, LABELS_FILE);
  const bytes = await readBytesIfThere(path);
  if (bytes === null) return null;
  const file = FILE.safeParse(parseJsonObject(bytes, path));
  if (file.success) return file.data;
  throw new FormatError(path, file.error.issues.map((i) => `${i.path.join(".")}: ${i.message}`).join(", "));
}

/** What an adapter's head tells apart: as its labels file says; else, where the head has another size than the `base`'s, unnamed.
 *  `outputWeight`: name of the head's last weight in transformers. @throws FormatError if the file is damaged */
export async function readLabels(
  folder: string,
  base: Classifier,
  outputWeight: string,
): Promise<Classifier> {
  const named = await readLabelsFile(folder);
  if (named !== null) return named;
  const count = await outputCount(join(folder, ADAPTER_WEIGHTS), outputWeight);
  if (count === null || count === base.labels.length) return base;
  const labels = Array.from({ length: count }, (_, i) => `LABEL_${i}`);
  return { labels, kind: count === 1 ? "value" : "classes" };
}

async function outputCount(path: string, outputWeight: string): Promise<number | null> {
  if (!(await exists(path))) return null;
  const file = await openSafetensors(path);
  try {
    return file.entries.get(`base_model.model.${outputWeight}`)?.shape[0] ?? null;
  } finally {
    await file.close();
  }
}

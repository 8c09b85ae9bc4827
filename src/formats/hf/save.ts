import { open, readdir, rename, rm, rmdir } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { FormatError, InputError } from "../../errors.ts";
import { storing, syncFolder, systemErrorCode } from "../../io/disk.ts";
import { exists } from "../../io/download.ts";
import { makeFolder } from "../../io/folder.ts";
import { requireInside } from "../../io/inside.ts";
import { folderStorage } from "../../io/storage/disk-storage.ts";
import type { Storage } from "../../io/storage/storage.ts";
import { removeAbandoned, removeLeftovers, temporaryPath } from "../../io/temporary.ts";
import type { ModelSource } from "../model.ts";
import { type WriteModelFolderOptions, writeModelFiles } from "./save-files.ts";

/** Files of a model folder whose content goes into what is written. */
const USED_FILES: readonly string[] = [
  ...["config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"],
  ...["special_tokens_map.json", "generation_config.json"],
];

/** Checks that what a written model takes over from a folder lies in it: a foreign folder may hold links to anything.
 *  @throws UnsupportedError naming a file that leads out of it */
export async function requireOwnFiles({ kind, path }: ModelSource): Promise<void> {
  if (kind !== "folder") return;
  for (const name of USED_FILES) if (await exists(join(path, name))) await requireInside(path, name);
}

/** The target must not hold anything: a model or an adapter is never written over another.
 *  @throws InputError if it does; FormatError if it is no folder. */
export async function requireFreeFolder(folder: string): Promise<void> {
  await removeLeftovers(folder);
  const names = await readdir(folder).catch((error) => {
    if (systemErrorCode(error) === "ENOENT") return [];
    throw new FormatError(folder, `cannot be written to (${systemErrorCode(error)})`, { cause: error });
  });
  if (names.length > 0)
    throw new InputError("The output cannot be written:", [
      { where: folder, message: `holds ${names.length} entries already, expected a new or empty folder` },
    ]);
}

/** Makes the finished folder appear under its name at once. */
async function publish(temporary: string, folder: string): Promise<void> {
  for (const entry of await readdir(temporary, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const handle = await open(join(entry.parentPath, entry.name), "r+");
    await handle.sync();
    await handle.close();
  }
  await rmdir(folder).catch(() => undefined); // an empty folder of that name; Windows cannot rename onto it
  await rename(temporary, folder);
  await syncFolder(dirname(folder));
}

/** Writes a model as a Hugging Face folder that transformers loads: config.json, model.safetensors, tokenizer.json,
 *  tokenizer_config.json, chat_template.jinja, special_tokens_map.json, generation_config.json. Weights are read, replaced
 *  and written one at a time. The folder appears complete or not at all.
 *  @throws InputError if the folder is not empty; ShapeError if a replaced weight has another shape; FormatError if a
 *  weight is not finite; LowrankError ("storage") if the disk does not take it. */
export async function writeModelFolder(
  dir: string,
  source: ModelSource,
  options: WriteModelFolderOptions = {},
): Promise<void> {
  await requireOwnFiles(source);
  await writeFolder(dir, (folder) =>
    writeModelFiles(folderStorage(folder), source, { ...options, from: ownFiles(source) }),
  );
}

/** The files that a source was read from; null where it has none of its own (a GGUF file). */
export function ownFiles({ kind, path }: Pick<ModelSource, "kind" | "path">): Storage | null {
  return kind === "folder" ? folderStorage(path) : null;
}

/** Writes a folder that appears complete or not at all: `write` fills one of another name.
 *  @throws InputError if there is something in it; what `write` throws; LowrankError ("storage") */
export async function writeFolder(dir: string, write: (folder: string) => Promise<void>): Promise<void> {
  const folder = resolve(dir);
  await requireFreeFolder(folder);
  const temporary = temporaryPath(folder);
  await removeAbandoned(folder);
  await storing(folder, async () => {
    try {
      await makeFolder(temporary);
      await write(temporary);
      await publish(temporary, folder);
    } catch (error) {
      await rm(temporary, { recursive: true, force: true });
      throw error;
    }
  });
}

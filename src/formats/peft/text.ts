import { join } from "node:path";
import { readBytesIfThere, writeFileAtomic } from "../../io/disk.ts";
import { exists } from "../../io/download.ts";
import { requireInside } from "../../io/inside.ts";
import { parseJsonObject } from "../../io/json.ts";
import { folderStorage } from "../../io/storage/disk-storage.ts";
import { readChatTemplate, readHfTokenizer } from "../hf/tokenizer.ts";
import type { TokenizerSource } from "../model.ts";
import { TEMPLATE_ARGS_FILE, templateArgsText } from "./template-args.ts";

/** What an adapter's folder says of the text that it was trained on. */
export interface AdapterText {
  /** Null where the folder brings no tokenizer. */
  readonly tokenizer: TokenizerSource | null;
  /** Null where it brings no chat template. */
  readonly chatTemplate: string | null;
  readonly templateArgs: Readonly<Record<string, unknown>>;
}

/** What an adapter's folder brings beside its weights; trainers save tokenizer and chat template there. @throws FormatError */
export async function readAdapterText(folder: string): Promise<AdapterText> {
  const hasTokenizer = (await readBytesIfThere(join(folder, "tokenizer.json"))) !== null;
  const tokenizer = hasTokenizer ? await readHfTokenizer(folderStorage(folder)) : null;
  const path = join(folder, TEMPLATE_ARGS_FILE);
  const args = await readBytesIfThere(path);
  return {
    tokenizer,
    chatTemplate: tokenizer?.chatTemplate ?? (await readChatTemplate(folderStorage(folder))),
    templateArgs: args === null ? {} : parseJsonObject(args, path),
  };
}

/** Files of an adapter's folder that `readAdapterText` reads. */
export const TEXT_FILES: readonly string[] = [
  ...["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"],
  TEMPLATE_ARGS_FILE,
];

/** Checks that what goes from an adapter's folder into another one lies in it: a foreign folder may hold links to anything.
 *  @throws UnsupportedError naming a file that leads out of the folder */
export async function requireOwnText(folder: string): Promise<void> {
  for (const name of TEXT_FILES) if (await exists(join(folder, name))) await requireInside(folder, name);
}

/** Carries over what an adapter's folder brings beside its weights to another folder. @throws as `requireOwnText` */
export async function copyAdapterText(from: string, to: string): Promise<void> {
  await requireOwnText(from);
  for (const name of TEXT_FILES) {
    const bytes = await readBytesIfThere(join(from, name));
    if (bytes !== null) await writeFileAtomic(join(to, name), bytes);
  }
}

/** Keeps the variables of the chat template with an adapter, if there are any. */
export async function writeTemplateArgs(
  folder: string,
  args: Readonly<Record<string, unknown>>,
): Promise<void> {
  const text = templateArgsText(args);
  if (text !== null) await writeFileAtomic(join(folder, TEMPLATE_ARGS_FILE), text);
}

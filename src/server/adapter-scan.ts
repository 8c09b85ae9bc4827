import { readdir, stat } from "node:fs/promises";
import { join, relative, sep } from "node:path";
import { ADAPTER_CONFIG } from "../formats/peft/files.ts";
import { adapterInRun } from "../hub/resolve.ts";
import { fileMark, filesOf } from "../io/folder-mark.ts";
import { requireInside } from "../io/inside.ts";

/** An adapter found in a folder. */
export interface FoundAdapter {
  readonly name: string;
  readonly path: string;
  /** Changes whenever a file of it does. */
  readonly fingerprint: string;
}

/** Names of adapters: what may stand in a URL, a log and a terminal. */
export const ADAPTER_NAME: RegExp = /^[A-Za-z0-9][\w.@/:-]{0,127}$/;

/** Every adapter of a folder, by name: subfolders that hold one (PEFT, mlx-lm, a run) and .gguf files; the folder itself where it is one.
 *  What cannot be looked at, or lies behind a link that leads out, goes to `skip`. */
export async function scanAdapters(
  folder: string,
  skip: (name: string, reason: string) => void,
): Promise<FoundAdapter[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  const found: FoundAdapter[] = [];
  for (const { name } of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if (name.startsWith(".")) continue;
    const path = join(folder, name);
    try {
      const fingerprint = await fingerprintOf(folder, name);
      if (fingerprint === null) continue;
      const shown = name.replace(/\.gguf$/i, "");
      if (ADAPTER_NAME.test(shown)) found.push({ name: shown, path, fingerprint });
      else skip(name, "its name holds other characters than letters, digits and . _ - @ :");
    } catch (error) {
      skip(name, (error as Error).message);
    }
  }
  return found;
}

/** What changes when an adapter does; null for what is none. @throws LowrankError for a link out of the folder */
export async function fingerprintOf(folder: string, name: string): Promise<string | null> {
  await requireInside(folder, name);
  const info = await stat(join(folder, name));
  if (info.isFile()) return /\.gguf$/i.test(name) ? fileMark(name, info) : null;
  if (!info.isDirectory()) return null;
  // A run writes its log and checkpoints beside its adapter: they are no part of it.
  const inner = relative(folder, await adapterInRun(join(folder, name))).replaceAll(sep, "/");
  const files = (await filesOf(join(folder, inner))).map((file) => `${inner}/${file}`);
  if (!files.includes(`${inner}/${ADAPTER_CONFIG}`)) return null;
  const marks = await Promise.all(
    files.map(async (file) => {
      await requireInside(folder, file);
      return fileMark(file, await stat(join(folder, file)));
    }),
  );
  return marks.join("\n");
}

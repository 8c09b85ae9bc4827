import { UnsupportedError } from "../errors.ts";
import { isForeignAdapter } from "../formats/foreign-adapter.ts";
import { readAdapter } from "../formats/peft/adapter.ts";
import { resolveAdapter } from "../hub/resolve.ts";
import { resolveOptions } from "../models/base-model.ts";
import { openAdapter } from "../peft/files/adapter.ts";
import { fileUpdates } from "./file-updates.ts";
import { type FoundBase, findBase } from "./find-base.ts";
import { methodUpdates } from "./method-updates.ts";
import type { AdapterUpdates, UpdatesOptions } from "./update.ts";

/** Opens an adapter of any format (PEFT, lowrank, mlx-lm, GGUF; folder, run folder, Hub id) and gives its updates by module. LoRA and
 *  its relatives whose update is B·A need no base; others (DoRA, IA3, full fine-tuning, BitFit) need its weights, because ΔW is what
 *  merging adds to them. Close it.
 *  @throws NotFoundError, FormatError, InputError as opening the adapter gives reason to; NotFoundError, NetworkError for a base that was
 *  named in `model`; UnsupportedError where nothing can be said without a base that is not there */
export async function adapterUpdates(adapter: string, options: UpdatesOptions = {}): Promise<AdapterUpdates> {
  const path = await resolveAdapter(adapter, resolveOptions(options));
  const found = await findBase(path, options);
  if (found.shape === null) return updatesOfFile(path, found);
  const opened = await openAdapter(path, found.shape, options);
  const updates = methodUpdates(opened, found.shape, found.base);
  const warnings = [...(found.base?.warnings ?? []), ...opened.warnings];
  return { ...updates, path, base: found.base, notes: [...found.notes, ...warnings, ...updates.notes] };
}

/** What can be said from an adapter's folder alone. */
async function updatesOfFile(path: string, { notes }: FoundBase): Promise<AdapterUpdates> {
  const why = notes.join("; ");
  if (await isForeignAdapter(path))
    throw new UnsupportedError(
      `${path}: ${why}. Its modules are named by the base's architecture: give --model`,
    );
  const content = await readAdapter(path).catch((error) => {
    if (!(error instanceof UnsupportedError)) throw error;
    throw new UnsupportedError(`${error.message} without its base (${why})`);
  });
  const updates = fileUpdates(content, path, why);
  return { ...updates, path, base: null, notes: [...notes, ...content.warnings, ...updates.notes] };
}

import { InputError } from "../../errors.ts";
import { baseModelOfAdapter, isForeignAdapter, readForeignAdapter } from "../../formats/foreign-adapter.ts";
import { type AdapterContent, adapterOfFiles, readAdapter } from "../../formats/peft/adapter.ts";
import { openSource } from "../../models/base-model.ts";
import type { CombineAccess } from "./access.ts";

/** A LoRA adapter in any format, as PEFT would have written it. `name`: in errors.
 *  @throws InputError if the base that its format needs is not named; as `readAdapter` and `openSource` */
export async function readAnyAdapter(
  path: string,
  name: string,
  access: CombineAccess,
): Promise<AdapterContent> {
  if (!(await isForeignAdapter(path))) return readAdapter(path);
  const base = access.model ?? (await baseModelOfAdapter(path));
  if (base === null)
    throw new InputError("the adapter cannot be read", [
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

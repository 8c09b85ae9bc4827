import { UnsupportedError } from "../errors.ts";
import { type DirectoryHandle, directoryStorage } from "../io/storage/directory-storage.ts";
import type { Storage } from "../io/storage/storage.ts";

interface StorageNavigator {
  readonly navigator?: { readonly storage?: { getDirectory?(): Promise<unknown> } };
}

/** A folder of the browser's own file system (OPFS), which belongs to the page's origin and stays when the page is closed. Made where
 *  there is none. @throws UnsupportedError where the browser has none, or gives none to this page */
export async function browserStorage(folder: string): Promise<Storage> {
  const { navigator } = globalThis as StorageNavigator;
  const opened = await navigator?.storage?.getDirectory?.().catch(() => undefined);
  if (opened === undefined)
    throw new UnsupportedError(
      "this browser keeps no files for this page: keep them in memory (memoryStorage)",
    );
  let handle = opened as DirectoryHandle;
  for (const name of folder.split("/")) handle = await handle.getDirectoryHandle(name, { create: true });
  return directoryStorage(handle, folder);
}

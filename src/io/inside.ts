import { realpath } from "node:fs/promises";
import { basename, dirname, join, sep } from "node:path";
import { UnsupportedError } from "../errors.ts";
import { readError } from "./regular-file.ts";

/** A path of parts with "/" that stays below where it starts: nothing absolute, no "..", no drive letters, no backslashes, no
 *  control characters. */
export function isSafePath(path: string): boolean {
  return (
    !/[\\:\p{Cc}]/u.test(path) &&
    path.split("/").every((part) => part !== "" && part !== "." && part !== "..")
  );
}

/** Folders that a file of `folder` may really lie in: the folder itself, and for a snapshot of the Hub's cache, which is made of
 *  links, the contents of the same repository. */
function homesOf(folder: string): string[] {
  const snapshots = dirname(folder);
  return basename(snapshots) === "snapshots" ? [folder, join(dirname(snapshots), "blobs")] : [folder];
}

/** Checks that a file of a folder that may be foreign lies in it, so that what is copied or sent is what the folder holds, and not
 *  whatever a link in it leads to.
 *  @throws UnsupportedError if it leads out of the folder; NotFoundError, FormatError if it cannot be looked up */
export async function requireInside(folder: string, name: string): Promise<void> {
  const path = join(folder, name);
  const real = await realpath(path).catch((error) => {
    throw readError(path, error);
  });
  const homes = homesOf(await realpath(folder));
  if (homes.some((home) => real.startsWith(home + sep))) return;
  throw new UnsupportedError(
    `${path} is a link that leads out of its folder, to ${real}; put the file itself there if it belongs there`,
  );
}

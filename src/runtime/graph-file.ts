import { rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { storing } from "../io/disk.ts";
import { removeLeftovers, temporaryPath } from "../io/temporary.ts";
import type { PlaceGraph } from "./create-runtime.ts";

/** Writes graphs beside their weights, which are found relative to the graph's file; it is needed only while it loads. */
export function graphFiles(): PlaceGraph {
  const tidied = new Set<string>(); // folders without graphs that killed processes left
  return async (bytes, folder = tmpdir(), load) => {
    if (!tidied.has(folder)) await removeLeftovers(folder);
    tidied.add(folder);
    const path = temporaryPath(join(folder, ".graph"));
    try {
      await storing(path, () => writeFile(path, bytes));
      return await load({ path });
    } finally {
      await rm(path, { force: true });
    }
  };
}

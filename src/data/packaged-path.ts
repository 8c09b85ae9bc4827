import { fileURLToPath } from "node:url";

/** Absolute path of a file of the package's folder `data`. `src/data/` and `dist/data/` are equally deep, so one relative address
 *  serves both. */
export function packagedPath(name: string): string {
  return fileURLToPath(new URL(`../../data/${name}`, import.meta.url));
}

import { fileURLToPath } from "node:url";
import type { FieldMapping } from "./formats/format.ts";

/** A data set that comes with the package. */
export interface BundledDataset {
  readonly name: string;
  readonly description: string;
  readonly licence: string;
  /** Absolute paths. */
  readonly files: { readonly train: string; readonly test: string };
  readonly format: string;
  /** Which fields are the prompt and the completion, unless the user maps others. */
  readonly mapping: FieldMapping;
}

/** `src/data/` and `dist/data/` are equally deep, so one relative address serves both. */
function packaged(path: string): string {
  return fileURLToPath(new URL(`../../data/${path}`, import.meta.url));
}

/** Every bundled data set: name → files and field mapping. */
export const bundledDatasets: readonly BundledDataset[] = [
  {
    name: "shell-recipes",
    description: "A task in English and the shell command that does it",
    licence: "MIT",
    files: {
      train: packaged("shell-recipes/train.jsonl"),
      test: packaged("shell-recipes/test.jsonl"),
    },
    format: "prompt-completion",
    mapping: { promptField: "prompt", completionField: "command" },
  },
];

/** The bundled data set of that name, or undefined. */
export function findBundled(name: string): BundledDataset | undefined {
  return bundledDatasets.find((dataset) => dataset.name === name);
}

import type { FieldMapping } from "./formats/format.ts";

/** A data set that comes with the package. */
export interface BundledDataset {
  readonly name: string;
  /** One line for help texts. */
  readonly summary: string;
  /** SPDX identifier; its text lies beside the data. */
  readonly licence: string;
  /** Below the package's folder `data`; `packagedPath` says where that is. */
  readonly files: { readonly train: string; readonly validation?: string; readonly test: string };
  readonly format: string;
  /** Which fields are the prompt and the completion, unless the user maps others. */
  readonly mapping: FieldMapping;
}

/** The files of a folder of `data`. */
function filesOf(name: string): { readonly train: string; readonly test: string } {
  return { train: `${name}/train.jsonl`, test: `${name}/test.jsonl` };
}

/** Every bundled data set. */
export const bundledDatasets: readonly BundledDataset[] = [
  {
    name: "us-addresses",
    summary: "a US address and its parts as JSON",
    licence: "MIT",
    files: filesOf("us-addresses"),
    format: "prompt-completion",
    mapping: { promptField: "address", completionField: "json" },
  },
  {
    name: "wikisql",
    summary: "a question about a table and the SQL that answers it",
    licence: "BSD-3-Clause",
    files: { ...filesOf("wikisql"), validation: "wikisql/validation.jsonl" },
    format: "prompt-completion",
    mapping: {
      promptTemplate: "Table: {{table}}\nColumns: {{columns}}\nQuestion: {{question}}",
      completionField: "sql",
    },
  },
  {
    name: "dart",
    summary: "facts and an English sentence that says them",
    licence: "MIT",
    files: filesOf("dart"),
    format: "prompt-completion",
    mapping: { promptField: "triples", completionField: "text", referencesField: "references" },
  },
  {
    name: "shell-recipes",
    summary: "a task in English and the shell command that does it",
    licence: "MIT",
    files: filesOf("shell-recipes"),
    format: "prompt-completion",
    mapping: { promptField: "prompt", completionField: "command" },
  },
];

/** What is learned and measured on where no data is named. */
export const QUICKSTART_DATA = "us-addresses";

/** Their names. */
export const BUNDLED_NAMES: readonly string[] = bundledDatasets.map(({ name }) => name);

/** The bundled data set of that name, or undefined. */
export function findBundled(name: string): BundledDataset | undefined {
  return bundledDatasets.find((dataset) => dataset.name === name);
}

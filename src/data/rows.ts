import type { Row } from "./formats/format.ts";
import type { Indexed } from "./indexed.ts";
import type { Where } from "./place.ts";

/** A training row and the place it was read from. */
export interface DatasetRow {
  readonly row: Row;
  readonly where: Where;
}

/** Rows by index: an array, or rows of which most are on disk. */
export interface Rows extends Indexed<DatasetRow> {
  /** About how large they are, where that is known. */
  readonly sizeBytes?: number | undefined;
}

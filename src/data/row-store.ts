import { textOfUtf8, utf8Of } from "../io/bytes.ts";
import { parseMarked } from "../text/exact-number.ts";
import { indexed, subset } from "./indexed.ts";
import type { Where } from "./place.ts";
import { recordStore } from "./record-store.ts";
import type { DatasetRow, Rows } from "./rows.ts";
import type { Spill } from "./spill.ts";

/** Rows, appended and read by index. */
export interface RowStore extends Rows {
  readonly sizeBytes: number;
  /** `json`: the row. */
  append(json: string, where: Where): void;
}

/** Place and row as they are stored: index of the file, line, unit, row. */
type Stored = readonly [number, number, Where["unit"], DatasetRow["row"]];

/** The rows at `indices`. */
export function rowsAt(rows: Rows, indices: Int32Array): Rows {
  const sizeBytes = rows.sizeBytes && Math.round((rows.sizeBytes * indices.length) / rows.length);
  return { ...subset(rows, indices), sizeBytes };
}

/** An empty store of rows. */
export function rowStore(spill: Spill | null): RowStore {
  const records = recordStore(spill);
  const files: string[] = [];
  const decode = (bytes: Uint8Array): DatasetRow => {
    const [file, line, unit, row] = parseMarked(textOfUtf8(bytes)) as Stored;
    return { row, where: { file: files[file] as string, line, unit } };
  };
  const inOrder = indexed(
    () => records.length,
    (i) => decode(records.at(i)),
  );
  return {
    get length() {
      return records.length;
    },
    get sizeBytes() {
      return records.sizeBytes;
    },
    at: inOrder.at,
    slice: inOrder.slice,
    *[Symbol.iterator]() {
      for (const bytes of records.all()) yield decode(bytes);
    },
    append: (json, { file, line, unit }) => {
      if (files.at(-1) !== file) files.push(file);
      records.append(utf8Of(`[${files.length - 1},${line},"${unit}",${json}]`));
    },
  };
}

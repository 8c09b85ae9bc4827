/** Where a record stands. */
export interface Where {
  readonly file: string;
  /** 1-based line (the first, where a record spans several), or row number in files without lines. */
  readonly line: number;
  readonly unit: "line" | "row";
}

/** `file:12`, or `file row 12` for files without lines. */
export function formatWhere(where: Where): string {
  return where.unit === "line" ? `${where.file}:${where.line}` : `${where.file} row ${where.line}`;
}

import { stat } from "node:fs/promises";
import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } from "hyparquet";
import { compressors } from "hyparquet-compressors";
import type { DataRecord } from "../formats/format.ts";
import type { ReadContext, SourceRecord } from "../records.ts";

/** Apache Parquet, one row group in memory at a time. */
export async function* readParquet(file: string, context: ReadContext): AsyncGenerator<SourceRecord> {
  await stat(file); // a missing file is the caller's to report, before the library wraps it
  let row = 0;
  try {
    for await (const record of rows(file)) {
      row++;
      yield { record, where: { file, line: row, unit: "row" } };
    }
  } catch (error) {
    context.problems.add(
      file,
      `not readable as Parquet after ${row} rows: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}

async function* rows(file: string): AsyncGenerator<DataRecord> {
  const buffer = await asyncBufferFromFile(file);
  const metadata = await parquetMetadataAsync(buffer);
  let rowStart = 0;
  for (const group of metadata.row_groups) {
    const rowEnd = rowStart + Number(group.num_rows);
    const objects = await parquetReadObjects({ file: buffer, metadata, rowStart, rowEnd, compressors });
    for (const object of objects) yield plain(object) as DataRecord;
    rowStart = rowEnd;
  }
}

/** Parquet's 64-bit integers and dates as JSON would have them. */
function plain(value: unknown): unknown {
  if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
  if (value instanceof Date) return value.toISOString();
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
}

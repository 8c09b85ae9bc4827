import {
  type AsyncBuffer,
  type Compressors,
  type FileMetaData,
  parquetMetadataAsync,
  parquetReadObjects,
} from "hyparquet";
import { compressors } from "hyparquet-compressors";
import type { RandomAccessFile } from "../../io/storage/storage.ts";
import type { DataRecord } from "../formats/format.ts";
import type { Where } from "../place.ts";
import { GivenUp } from "../problems.ts";
import type { ReadContext, SourceRecord } from "../record.ts";
import { parseJson } from "./json-values.ts";
import { converted, leafPaths, rawSchema, type SchemaNode, schemaTree } from "./parquet-values.ts";

/** Bytes that a page may have once it is decompressed: a small file must not fill the memory. */
const MAX_PAGE_BYTES = 256 * 2 ** 20;

/** Apache Parquet, one row group in memory at a time. */
export async function* readParquet(file: string, context: ReadContext): AsyncGenerator<SourceRecord> {
  const opened = await context.files.open(file); // a missing file is the caller's to report, before the library wraps it
  let row = 0;
  try {
    const nans = new Set<string>();
    for await (const record of rows(bufferOf(opened), (column) => nans.add(column))) {
      row++;
      const where: Where = { file, line: row, unit: "row" };
      for (const column of nans) context.notes.at(where)("nan", column);
      nans.clear();
      const long = longField(record, context.maxLineBytes);
      if (long === null) yield { record, where };
      else context.bad(where, long);
    }
  } catch (error) {
    if (!(error instanceof Error) || error instanceof GivenUp) throw error;
    context.problems.add(file, `not readable as Parquet after ${row} rows: ${error.message}`);
  } finally {
    await opened.close();
  }
}

/** A file as the library reads it: in stretches, the end not included. */
function bufferOf({ sizeBytes, read }: RandomAccessFile): AsyncBuffer {
  return {
    byteLength: sizeBytes,
    slice: async (start, end = sizeBytes) => {
      const bytes = new Uint8Array(Math.max(0, Math.min(end, sizeBytes) - start));
      await read(start, bytes);
      return bytes.buffer;
    },
  };
}

async function* rows(buffer: AsyncBuffer, onNaN: (column: string) => void): AsyncGenerator<DataRecord> {
  const metadata = await parquetMetadataAsync(buffer);
  const tree = schemaTree(metadata.schema, onNaN);
  checkColumns(metadata, tree);
  const raw = { ...metadata, schema: rawSchema(metadata.schema) };
  let rowStart = 0;
  for (const group of metadata.row_groups) {
    const rowEnd = rowStart + Number(group.num_rows);
    const objects = await parquetReadObjects({
      file: buffer,
      metadata: raw,
      rowStart,
      rowEnd,
      compressors: BOUNDED,
      utf8: false, // bytes of decimals are no text
      parsers: {
        jsonFromBytes: (bytes) => bytes && parseJson(new TextDecoder().decode(bytes)).value,
        timestampFromNanoseconds: (nanos) => nanos, // of INT96, which has no annotation to take away
      },
    });
    for (const object of objects) yield converted(object, tree) as DataRecord;
    rowStart = rowEnd;
  }
}

/** The library starts to read all columns of a row group at once. It must find each in the schema, or those begun before would be left
 *  with nobody to take their errors. @throws Error naming a column that the schema lacks, or that is there twice */
function checkColumns({ row_groups: groups }: FileMetaData, tree: SchemaNode): void {
  const known = new Set(leafPaths(tree));
  groups.forEach(({ columns }, i) => {
    const seen = new Set<string>();
    for (const { meta_data: column } of columns) {
      const path = column?.path_in_schema.join(".") ?? "";
      const fault = !known.has(path) ? "is not in the schema" : seen.has(path) ? "is there twice" : null;
      if (fault !== null) throw new Error(`row group ${i + 1}: column ${JSON.stringify(path)} ${fault}`);
      seen.add(path);
    }
  });
}

/** The library's decompressors, of pages that are not too large. Empty pages (columns without a value) hold nothing to decompress. */
const BOUNDED: Compressors = Object.fromEntries(
  Object.entries(compressors).map(([name, decompress]) => [
    name,
    (input: Uint8Array, size: number): Uint8Array => {
      if (size === 0) return new Uint8Array(0);
      if (size <= MAX_PAGE_BYTES) return decompress(input, size);
      const [bytes, limit] = [size, MAX_PAGE_BYTES].map((n) => n.toLocaleString("en"));
      throw new Error(`a page holds ${bytes} bytes once it is decompressed; the limit is ${limit}`);
    },
  ]),
);

/** What is too long in a row; null if nothing is. */
function longField(record: DataRecord, limit: number): string | null {
  for (const [name, value] of Object.entries(record))
    if (typeof value === "string" && value.length > limit) {
      const [length, most] = [value.length, limit].map((n) => n.toLocaleString("en"));
      return `field "${name}" is ${length} characters long; the limit is ${most}`;
    }
  return null;
}

import { createInflateRaw } from "node:zlib";
import { FormatError, NotFoundError, UnsupportedError } from "../errors.ts";
import { openFile, type RandomAccessFile } from "./disk.ts";
import { openRegular } from "./regular-file.ts";

/** A file inside a zip archive (PKWARE APPNOTE 4.3.12, "central directory header"). Its name is only ever compared,
 *  never used as a path. */
export interface ZipEntry {
  readonly name: string;
  /** 0 stored, 8 deflated. */
  readonly method: number;
  readonly compressedBytes: number;
  readonly sizeBytes: number;
  /** Of the local header in the archive. */
  readonly offset: number;
}

const END_SIGNATURE = 0x06054b50;
const ENTRY_SIGNATURE = 0x02014b50;
const LOCAL_SIGNATURE = 0x04034b50;
const END_BYTES = 22;
const COMMENT_LIMIT_BYTES = 65535;

/** Bytes of one file of an archive, decompressed as they are read.
 *  @throws NotFoundError if it is not in there; FormatError for a damaged archive; UnsupportedError for encrypted
 *  files, zip64, and other compressions than deflate. */
export async function openZipMember(path: string, member: string): Promise<AsyncIterable<Uint8Array>> {
  const file = await openFile(path);
  try {
    const entry = (await readDirectory(file)).find((e) => e.name === member);
    if (entry === undefined) throw new NotFoundError(`${path} has no file ${member}`);
    const start = await dataStart(file, entry);
    return entry.compressedBytes === 0 ? emptyBytes() : memberBytes(path, entry, start);
  } finally {
    await file.close();
  }
}

async function* emptyBytes(): AsyncGenerator<Uint8Array> {}

async function* memberBytes(path: string, entry: ZipEntry, start: number): AsyncGenerator<Uint8Array> {
  const raw = (await openRegular(path)).createReadStream({
    start,
    end: start + entry.compressedBytes - 1,
    highWaterMark: 1 << 20,
  });
  if (entry.method === 0) return yield* raw;
  const inflate = createInflateRaw({ chunkSize: 1 << 18 });
  raw.on("error", (error) => inflate.destroy(error));
  try {
    yield* raw.pipe(inflate);
  } catch (error) {
    throw new FormatError(`${path}: ${entry.name}`, `cannot be decompressed (${(error as Error).message})`, {
      cause: error,
    });
  } finally {
    raw.destroy();
    inflate.destroy();
  }
}

async function view(file: RandomAccessFile, offset: number, length: number): Promise<DataView> {
  const bytes = new Uint8Array(length);
  await file.read(offset, bytes);
  return new DataView(bytes.buffer);
}

async function readDirectory(file: RandomAccessFile): Promise<ZipEntry[]> {
  const tailBytes = Math.min(file.sizeBytes, END_BYTES + COMMENT_LIMIT_BYTES);
  const tail = await view(file, file.sizeBytes - tailBytes, tailBytes);
  let end = tailBytes - END_BYTES;
  while (end >= 0 && tail.getUint32(end, true) !== END_SIGNATURE) end--;
  if (end < 0) throw new FormatError(file.path, "is not a zip archive, or is cut off");
  const count = tail.getUint16(end + 10, true);
  const sizeBytes = tail.getUint32(end + 12, true);
  const offset = tail.getUint32(end + 16, true);
  if (count === 0xffff || offset === 0xffffffff)
    throw new UnsupportedError(`${file.path}: zip64 archives are not supported`);
  if (offset + sizeBytes > file.sizeBytes)
    throw new FormatError(file.path, "its directory lies outside the file");
  return parseDirectory(file.path, await view(file, offset, sizeBytes), count);
}

function parseDirectory(path: string, directory: DataView, count: number): ZipEntry[] {
  const entries: ZipEntry[] = [];
  let at = 0;
  for (let i = 0; i < count; i++) {
    if (at + 46 > directory.byteLength || directory.getUint32(at, true) !== ENTRY_SIGNATURE)
      throw new FormatError(path, `entry ${i} of its directory is damaged`);
    const nameBytes = directory.getUint16(at + 28, true);
    const next =
      at + 46 + nameBytes + directory.getUint16(at + 30, true) + directory.getUint16(at + 32, true);
    if (next > directory.byteLength) throw new FormatError(path, `entry ${i} of its directory is cut off`);
    const name = new TextDecoder().decode(new Uint8Array(directory.buffer, at + 46, nameBytes));
    const method = (directory.getUint16(at + 8, true) & 1) === 1 ? -1 : directory.getUint16(at + 10, true);
    const compressedBytes = directory.getUint32(at + 20, true);
    const sizeBytes = directory.getUint32(at + 24, true);
    entries.push({ name, method, compressedBytes, sizeBytes, offset: directory.getUint32(at + 42, true) });
    at = next;
  }
  return entries;
}

/** Where an entry's data begins: its local header has name and extra fields of its own lengths. */
async function dataStart(file: RandomAccessFile, entry: ZipEntry): Promise<number> {
  const where = `${file.path}: ${entry.name}`;
  if (entry.method !== 0 && entry.method !== 8)
    throw new UnsupportedError(
      `${where}: ${entry.method < 0 ? "is encrypted" : `compression ${entry.method}`}`,
    );
  if (entry.offset + 30 > file.sizeBytes) throw new FormatError(where, "lies outside the archive");
  const header = await view(file, entry.offset, 30);
  if (header.getUint32(0, true) !== LOCAL_SIGNATURE) throw new FormatError(where, "its header is damaged");
  const start = entry.offset + 30 + header.getUint16(26, true) + header.getUint16(28, true);
  if (start + entry.compressedBytes > file.sizeBytes) throw new FormatError(where, "is cut off");
  return start;
}

import { FormatError, NotFoundError } from "../../errors.ts";
import type { HashedFile, RandomAccessFile } from "../../io/storage/storage.ts";
import { type FloatTensor, floats } from "../../tensor/tensor.ts";
import { type GgufEntry, type GgufHeader, type GgufValue, NeedMoreBytes, parseGguf } from "./parse.ts";
import { dequantize } from "./quants.ts";

export type { GgufEntry, GgufValue } from "./parse.ts";

/** A .gguf file, opened and checked; tensors are read on demand. */
export interface GgufFile extends HashedFile {
  readonly sizeBytes: number;
  readonly modifiedMs: number;
  /** 2 or 3. */
  readonly version: number;
  readonly alignment: number;
  /** The keys and their values, in file order. */
  readonly values: ReadonlyMap<string, GgufValue>;
  /** Tensors by name, in file order. */
  readonly entries: ReadonlyMap<string, GgufEntry>;
  /** A tensor as float32 in the order of the file. @throws NotFoundError, UnsupportedError for other storage types. */
  read(name: string): Promise<FloatTensor>;
  /** A tensor's bytes as they are on disk. @throws NotFoundError. */
  readBytes(name: string): Promise<Uint8Array>;
  close(): Promise<void>;
}

const FIRST_READ_BYTES = 4 * 1024 * 1024;

/** Reads as much of the start of the file as its header turns out to need. */
async function readHeader(file: RandomAccessFile): Promise<GgufHeader> {
  for (let limit = FIRST_READ_BYTES; ; limit *= 4) {
    const bytes = new Uint8Array(Math.min(limit, file.sizeBytes));
    await file.read(0, bytes);
    try {
      return parseGguf(file.path, bytes, file.sizeBytes);
    } catch (error) {
      if (!(error instanceof NeedMoreBytes)) throw error;
    }
  }
}

/** Takes an open GGUF file, version 2 or 3, little-endian, and checks its header against the file:
 *  https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
 *  It is closed where that fails. @throws FormatError for a broken header; InputError listing every tensor at fault; UnsupportedError
 *  for other versions. */
export async function ggufOf(file: RandomAccessFile): Promise<GgufFile> {
  const { path } = file;
  try {
    if (file.sizeBytes < 24)
      throw new FormatError(path, `is ${file.sizeBytes} bytes long, too short for a GGUF file`);
    const header = await readHeader(file);
    const entryOf = (name: string): GgufEntry => {
      const entry = header.entries.get(name);
      if (!entry) throw new NotFoundError(`${path}: no tensor "${name}"`);
      return entry;
    };
    const readBytes = async (name: string): Promise<Uint8Array> => {
      const { offset, sizeBytes } = entryOf(name);
      const bytes = new Uint8Array(sizeBytes);
      await file.read(offset, bytes);
      return bytes;
    };
    return {
      ...file,
      ...header,
      readBytes,
      read: async (name) => {
        const { type, shape } = entryOf(name);
        return floats(dequantize(type, await readBytes(name)), shape);
      },
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

import { crc32, deflateRawSync } from "node:zlib";

/** A file for a test archive. */
export interface ZipInput {
  readonly name: string;
  readonly content: Buffer;
  readonly store?: boolean;
  /** Overrides what the directory says of it. */
  readonly method?: number;
  readonly flags?: number;
}

/** A zip archive with the given files; the local headers carry an extra field that the directory lacks. */
export function zip(files: readonly ZipInput[]): Buffer {
  const locals: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const file of files) {
    const name = Buffer.from(file.name);
    const data = file.store ? file.content : deflateRawSync(file.content);
    const common = Buffer.alloc(26);
    common.writeUInt16LE(20, 0);
    common.writeUInt16LE(file.flags ?? 0, 2);
    common.writeUInt16LE(file.method ?? (file.store ? 0 : 8), 4);
    common.writeUInt32LE(crc32 === undefined ? 0 : crc32(file.content), 10);
    common.writeUInt32LE(data.length, 14);
    common.writeUInt32LE(file.content.length, 18);
    common.writeUInt16LE(name.length, 22);
    const extra = Buffer.from([0xfe, 0xca, 0, 0]);
    const local = Buffer.from(common);
    local.writeUInt16LE(extra.length, 24);
    const rest = Buffer.alloc(14);
    rest.writeUInt32LE(offset, 10);
    directory.push(Buffer.from("PK\x01\x02"), Buffer.from([20, 0]), common, rest, name);
    const parts = [Buffer.from("PK\x03\x04"), local, name, extra, data];
    locals.push(...parts);
    offset += parts.reduce((sum, part) => sum + part.length, 0);
  }
  const central = Buffer.concat(directory);
  const end = Buffer.alloc(18);
  end.writeUInt16LE(files.length, 4);
  end.writeUInt16LE(files.length, 6);
  end.writeUInt32LE(central.length, 8);
  end.writeUInt32LE(offset, 12);
  return Buffer.concat([...locals, central, Buffer.from("PK\x05\x06"), end]);
}

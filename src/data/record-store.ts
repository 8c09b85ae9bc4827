import type { Spill, SpillFile } from "./spill.ts";

/** Records of bytes, appended and read by index. Without a spill they are in memory; with one, all but the newest are in its file,
 *  and a record takes 4 bytes and a bit of memory, for its size. */
export interface RecordStore {
  readonly length: number;
  /** Of all records. */
  readonly sizeBytes: number;
  append(record: Uint8Array): void;
  /** The bytes of a record that is there, good until the next append. */
  at(index: number): Uint8Array;
  /** All records in their order, read in larger pieces; each good until the next. */
  all(): Generator<Uint8Array>;
}

/** Records between two whose offsets are known; those of others follow from the sizes. */
const STRIDE = 64;
const READ_AHEAD_BYTES = 2 ** 18;
const FIRST_BYTES = 2 ** 16;

/** An empty store. */
export function recordStore(spill: Spill | null): RecordStore {
  const offsets: number[] = []; // of every STRIDE-th record
  let sizes = new Uint32Array(STRIDE);
  let length = 0;
  let file: SpillFile | null = null;
  let onDisk = 0; // bytes
  let held = new Uint8Array(FIRST_BYTES); // what follows those on disk
  let heldBytes = 0;

  const makeRoom = (size: number): void => {
    if (spill && heldBytes > 0 && heldBytes + size > spill.memoryBytes) {
      file ??= spill.create();
      file.append(held.subarray(0, heldBytes));
      onDisk += heldBytes;
      heldBytes = 0;
    }
    if (heldBytes + size > held.length) {
      const room = Math.max(heldBytes + size, 2 * held.length);
      held = enlarged(held, new Uint8Array(room));
    }
  };

  const append = (record: Uint8Array): void => {
    makeRoom(record.length);
    if (length % STRIDE === 0) offsets.push(onDisk + heldBytes);
    if (length === sizes.length) sizes = enlarged(sizes, new Uint32Array(2 * length));
    sizes[length++] = record.length;
    held.set(record, heldBytes);
    heldBytes += record.length;
  };

  const read = (offset: number, size: number): Uint8Array => {
    if (offset >= onDisk) return held.subarray(offset - onDisk, offset - onDisk + size);
    const bytes = new Uint8Array(size);
    file?.read(offset, bytes);
    return bytes;
  };

  const at = (index: number): Uint8Array => {
    const known = index - (index % STRIDE);
    let offset = offsets[known / STRIDE] as number;
    for (let i = known; i < index; i++) offset += sizes[i] as number;
    return read(offset, sizes[index] as number);
  };

  /** Index after the records from `first` on that are read at once, and their bytes: all on disk or all held. */
  const pieceFrom = (first: number, offset: number): { readonly end: number; readonly size: number } => {
    let [end, size] = [first, 0];
    do size += sizes[end++] as number;
    while (end < length && size + (sizes[end] as number) <= READ_AHEAD_BYTES && offset + size !== onDisk);
    return { end, size };
  };

  function* all(): Generator<Uint8Array> {
    for (let index = 0, offset = 0; index < length; ) {
      const { end, size } = pieceFrom(index, offset);
      const piece = read(offset, size);
      offset += size;
      for (let from = 0; index < end; index++) {
        const to = from + (sizes[index] as number);
        yield piece.subarray(from, to);
        from = to;
      }
    }
  }

  return {
    get length() {
      return length;
    },
    get sizeBytes() {
      return onDisk + heldBytes;
    },
    append,
    at,
    all,
  };
}

/** `larger`, which begins with what `array` holds. */
export function enlarged<A extends Uint8Array | Uint32Array>(array: A, larger: A): A {
  larger.set(array);
  return larger;
}

import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { type RecordStore, recordStore } from "../../src/data/record-store.ts";
import { openSpill, type Spill } from "../../src/data/spill.ts";
import { random } from "../../src/tensor/random.ts";
import { temporaryFolder } from "./files.ts";

function spillOf(memoryBytes: number, folder = temporaryFolder()): Spill {
  const spill = openSpill(folder, memoryBytes);
  onTestFinished(spill.close);
  return spill;
}

/** Records of 0 to `longest` bytes, no two of them alike. */
function randomRecords(count: number, longest: number): Buffer[] {
  const generator = random(1, "records");
  return Array.from({ length: count }, (_, i) => {
    const record = Buffer.alloc(generator.below(longest + 1), i % 251);
    if (record.length >= 4) record.writeUInt32LE(i);
    return record;
  });
}

function filled(spill: Spill | null, records: readonly Buffer[]): RecordStore {
  const store = recordStore(spill);
  for (const record of records) store.append(record);
  return store;
}

const hex = (record: Uint8Array): string => Buffer.from(record).toString("hex");

describe("recordStore", () => {
  it.each([
    ["in memory", 1000, null],
    ["with a file, of which the end is in memory", 1000, 5_000],
    ["where records are larger than what is kept in memory", 300, 20],
    ["where pieces are read ahead", 20_000, 300_000],
  ])("%s gives back what was put in, by index and in order", (_, count, memoryBytes) => {
    const records = randomRecords(count, 100);
    const store = filled(memoryBytes === null ? null : spillOf(memoryBytes), records);
    expect(store.length).toBe(count);
    expect(store.sizeBytes).toBe(records.reduce((n, r) => n + r.length, 0));
    expect(records.map((_, i) => hex(store.at(i)))).toEqual(records.map(hex));
    expect(Array.from(store.all(), hex)).toEqual(records.map(hex));
  });

  it("can be read between appends", () => {
    const records = randomRecords(400, 50);
    const store = recordStore(spillOf(200));
    records.forEach((record, i) => {
      store.append(record);
      expect(hex(store.at(i >> 1))).toEqual(hex(records[i >> 1] as Buffer));
    });
  });

  it("keeps small ones in memory: no file", () => {
    const folder = join(temporaryFolder(), "cache");
    filled(spillOf(1000, folder), [Buffer.alloc(999)]);
    expect(() => readdirSync(folder)).toThrow("ENOENT");
  });

  it.skipIf(process.platform === "win32")("leaves nothing in the folder, whatever ends the process", () => {
    const folder = temporaryFolder();
    const store = filled(spillOf(10, folder), randomRecords(50, 20));
    expect(store.sizeBytes).toBeGreaterThan(100);
    expect(readdirSync(folder)).toEqual([]);
  });

  it("is of no use once the files are closed", () => {
    const spill = openSpill(temporaryFolder(), 10);
    const store = filled(spill, randomRecords(50, 20));
    spill.close();
    expect(() => store.at(0)).toThrow(/^the temporary files in .* are closed$/);
    expect(() => filled(spill, randomRecords(50, 20))).toThrow("are closed");
  });

  it("says where it cannot write", () => {
    const file = join(temporaryFolder(), "file");
    writeFileSync(file, "");
    expect(() => filled(spillOf(10, join(file, "cache")), randomRecords(50, 20))).toThrow(
      /^cannot write .*file.cache.rows: a part of the path is a file, not a folder$/,
    );
  });
});

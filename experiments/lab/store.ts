import { createHash } from "node:crypto";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { InputError } from "lowrank";

/** JSON with its keys in order: equal values give equal texts. */
export function canonical(value: unknown): string {
  return JSON.stringify(value, (_, v) =>
    v !== null && typeof v === "object" && !Array.isArray(v)
      ? Object.fromEntries(Object.entries(v).sort(([a], [b]) => (a < b ? -1 : 1)))
      : v,
  );
}

/** Address of a cell: a hash of everything that decides its result. */
export function addressOf(key: unknown): string {
  return createHash("sha256").update(canonical(key)).digest("hex").slice(0, 20);
}

/** JSON has no NaN and no infinity: a run that diverged has. */
function toStored(_key: string, value: unknown): unknown {
  return typeof value === "number" && !Number.isFinite(value) ? { $number: String(value) } : value;
}

function fromStored(_key: string, value: unknown): unknown {
  const { $number } = (value ?? {}) as { $number?: string };
  return $number === undefined ? value : Number($number);
}

/** A finished cell, as it lies on disk. */
export interface StoredCell {
  readonly key: unknown;
  readonly result: unknown;
  /** Seconds that it took. */
  readonly seconds: number;
}

/** Finished cells in a folder, each a JSON file under its address. */
export interface CellStore {
  readonly folder: string;
  /** The cell of that address, or null: one that is damaged counts as none. */
  read(address: string): Promise<StoredCell | null>;
  /** Written under a temporary name and renamed: it is there whole or not at all. */
  write(address: string, cell: StoredCell): Promise<void>;
  /** Folder of a cell's own files. */
  folderOf(address: string): string;
}

/** The store below a folder, which is made. */
export async function openStore(folder: string): Promise<CellStore> {
  const cells = join(folder, "cells");
  await mkdir(cells, { recursive: true }).catch((error: Error) => {
    throw new InputError("the cells cannot be kept", [
      { where: "output", message: `${folder}: ${error.message}` },
    ]);
  });
  const path = (address: string): string => join(cells, `${address}.json`);
  return {
    folder,
    read: async (address) => {
      try {
        const cell = JSON.parse(await readFile(path(address), "utf8"), fromStored) as StoredCell;
        return addressOf(cell.key) === address ? cell : null;
      } catch {
        return null;
      }
    },
    write: async (address, cell) => {
      const temporary = `${path(address)}.${process.pid}.partial`;
      await writeFile(temporary, `${JSON.stringify(cell, toStored, 2)}\n`);
      await rename(temporary, path(address));
    },
    folderOf: (address) => join(cells, address),
  };
}

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
export function toStored(_key: string, value: unknown): unknown {
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

/** A finished cell in a report. */
export interface ToldCell extends StoredCell {
  readonly address: string;
}

/** The file of a report's cells, from which those come that a folder has no files of. */
export const RESULTS = "results.json";

/** Finished cells in a folder, each a JSON file under its address. */
export interface CellStore {
  readonly folder: string;
  /** The cell of that address, or null: one that is damaged counts as none. */
  read(address: string): Promise<StoredCell | null>;
  /** Those that an earlier report in the folder tells of. */
  readonly told: readonly ToldCell[];
  /** Written under a temporary name and renamed: it is there whole or not at all. */
  write(address: string, cell: StoredCell): Promise<void>;
  /** Folder of a cell's own files. */
  folderOf(address: string): string;
}

/** Cells of a report that was written into a folder; none where there is none, or it is damaged. */
async function toldCells(folder: string): Promise<ToldCell[]> {
  try {
    const { cells } = JSON.parse(await readFile(join(folder, RESULTS), "utf8"), fromStored) as {
      cells: ToldCell[];
    };
    return cells.filter(({ key, address }) => addressOf(key) === address);
  } catch {
    return [];
  }
}

/** The store below a folder, which is made. */
export async function openStore(folder: string): Promise<CellStore> {
  const cells = join(folder, "cells");
  await mkdir(cells, { recursive: true }).catch((error: Error) => {
    throw new InputError("the cells cannot be kept", [
      { where: "output", message: `${folder}: ${error.message}` },
    ]);
  });
  const told = await toldCells(folder);
  const toldBy = new Map(told.map((cell) => [cell.address, cell]));
  const path = (address: string): string => join(cells, `${address}.json`);
  return {
    folder,
    told,
    read: async (address) => {
      try {
        const cell = JSON.parse(await readFile(path(address), "utf8"), fromStored) as StoredCell;
        if (addressOf(cell.key) === address) return cell;
      } catch {
        // missing or damaged: the report may tell it
      }
      const { key, result, seconds } = toldBy.get(address) ?? {};
      return seconds === undefined ? null : { key, result, seconds };
    },
    write: async (address, cell) => {
      const temporary = `${path(address)}.${process.pid}.partial`;
      await writeFile(temporary, `${JSON.stringify(cell, toStored, 2)}\n`);
      await rename(temporary, path(address));
    },
    folderOf: (address) => join(cells, address),
  };
}

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { FormatError, LowrankError, NotFoundError } from "../../src/errors.ts";
import { type DirectoryHandle, directoryStorage } from "../../src/io/storage/directory-storage.ts";
import { folderStorage } from "../../src/io/storage/disk-storage.ts";
import { filesStorage } from "../../src/io/storage/files-storage.ts";
import { memoryStorage } from "../../src/io/storage/memory-storage.ts";
import type { Storage } from "../../src/io/storage/storage.ts";
import { inFolder } from "../../src/io/storage/sub-storage.ts";
import { errorOf } from "../error-of.ts";

const named = (name: string): Error => Object.assign(new Error(name), { name });

/** A folder by its handle, as browsers have it: what is written is there when it is closed. */
function fakeFolder(name: string): DirectoryHandle {
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  const folders = new Map<string, DirectoryHandle>();
  return {
    name,
    keys: async function* () {
      yield* [...files.keys(), ...folders.keys()];
    },
    getDirectoryHandle: async (folder, { create = false } = {}) => {
      if (!folders.has(folder) && !create) throw named("NotFoundError");
      const found = folders.get(folder) ?? fakeFolder(folder);
      folders.set(folder, found);
      return found;
    },
    getFileHandle: async (file, { create = false } = {}) => {
      if (folders.has(file)) throw named("TypeMismatchError");
      if (!files.has(file) && !create) throw named("NotFoundError");
      if (!files.has(file)) files.set(file, new Uint8Array(0));
      return {
        getFile: async () => new File([files.get(file) as Uint8Array<ArrayBuffer>], file),
        createWritable: async () => {
          const parts: Uint8Array<ArrayBuffer>[] = [];
          return {
            write: async (data) => {
              if (data.length > 1000) throw named("QuotaExceededError");
              parts.push(data.slice());
            },
            close: async () => {
              files.set(file, new Uint8Array(await new Blob(parts).arrayBuffer()));
            },
            abort: async () => undefined,
          };
        },
      };
    },
    removeEntry: async (file) => {
      if (!files.delete(file)) throw named("NotFoundError");
    },
  };
}

async function onDisk(): Promise<Storage> {
  const folder = await mkdtemp(join(tmpdir(), "lowrank-storage-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  return folderStorage(folder);
}

const STORAGES: Readonly<Record<string, () => Storage | Promise<Storage>>> = {
  "a folder on disk": onDisk,
  "a folder by its handle": () => directoryStorage(fakeFolder("picked")),
  memory: () => memoryStorage(),
  "a folder of memory": () => inFolder(memoryStorage(), "below"),
};

const bytes = (...numbers: number[]): Uint8Array => Uint8Array.from(numbers);

describe.each(Object.entries(STORAGES))("%s", (_, open) => {
  test("gives back what was written: whole, its size, its name, stretches of it", async () => {
    const storage = await open();
    await storage.write("a.txt", "größer");
    await storage.write("b", bytes(1, 2, 3, 4));
    await storage.write("c", async (write) => {
      const buffer = bytes(5, 6);
      await write(buffer);
      buffer.fill(7);
      await write(buffer);
    });
    expect((await storage.list()).sort()).toEqual(["a.txt", "b", "c"]);
    expect(new TextDecoder().decode(await storage.read("a.txt"))).toBe("größer");
    expect([await storage.size("a.txt"), await storage.size("c")]).toEqual([8, 4]);
    expect([...(await storage.read("c"))]).toEqual([5, 6, 7, 7]);
    const file = await storage.open("b");
    const into = new Uint8Array(2);
    await file.read(1, into);
    expect([file.path, file.sizeBytes, ...into]).toEqual([storage.pathOf("b"), 4, 2, 3]);
    expect(await file.sha256()).toBe("9f64a747e1b97f131fabb6b447296c9b6f0201e79fb3c5356e6c77e89b6a806a");
    expect(await errorOf(file.read(3, into))).toBeInstanceOf(FormatError);
    await file.close();
  });

  test("says what is not there, and what is too large", async () => {
    const storage = await open();
    expect(await storage.size("none")).toBeNull();
    for (const work of [storage.open("none"), storage.read("none")])
      expect(await errorOf(work)).toMatchObject({
        constructor: NotFoundError,
        message: expect.stringContaining(`${storage.pathOf("none")}: no such file`),
      });
    await storage.write("five", bytes(1, 2, 3, 4, 5));
    expect(await errorOf(storage.read("five", 4))).toMatchObject({
      message: `${storage.pathOf("five")}: has 5 bytes, the limit for such a file is 4`,
    });
    await storage.remove("none");
  });

  test("renames over another file, removes, and makes folders", async () => {
    const storage = await open();
    await storage.write("deep/er/one", bytes(1));
    await storage.write("two", bytes(2, 2));
    await storage.rename("two", "deep/er/one");
    expect([...(await storage.read("deep/er/one"))]).toEqual([2, 2]);
    expect(await storage.size("two")).toBeNull();
    await storage.remove("deep/er/one");
    expect(await storage.size("deep/er/one")).toBeNull();
    expect(await errorOf(storage.rename("two", "three"))).toBeInstanceOf(LowrankError);
  });

  test("keeps the old content where writing fails", async () => {
    const storage = await open();
    await storage.write("kept", bytes(1, 2));
    const failing = storage.write("kept", async (write) => {
      await write(bytes(3));
      throw new LowrankError("test", "no more");
    });
    expect(await errorOf(failing)).toMatchObject({ message: "no more" });
    const fails = async (): Promise<never> => {
      throw new LowrankError("test", "nothing");
    };
    expect(await errorOf(storage.write("new", fails))).toMatchObject({ message: "nothing" });
    expect([...(await storage.read("kept"))]).toEqual([1, 2]);
    expect(await storage.list()).toEqual(["kept"]);
  });
});

test("a folder that is full says so", async () => {
  const storage = directoryStorage(fakeFolder("picked"));
  expect(await errorOf(storage.write("large", new Uint8Array(2000)))).toMatchObject({
    code: "storage",
    message: "cannot write picked/large: the browser gives this site no more room",
  });
});

test("files that were picked as a folder have their paths below it, and are only read", async () => {
  const file = (path: string): File =>
    Object.assign(new File(["text"], path.split("/").at(-1) as string), { webkitRelativePath: path });
  const storage = filesStorage([file("model/config.json"), file("model/sub/a.txt")], "model");
  expect(await storage.list()).toEqual(["config.json", "sub"]);
  expect(await storage.size("sub/a.txt")).toBe(4);
  expect((await storage.open("config.json")).path).toBe("model/config.json");
  expect(await errorOf(storage.write("x", "y"))).toMatchObject({
    code: "storage",
    message: "cannot write model/x: it can only be read",
  });
});

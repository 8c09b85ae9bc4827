import { chmod, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { storing, writeFileAtomic } from "../../src/io/disk.ts";
import { temporaryPath } from "../../src/io/temporary.ts";
import { failure, temporaryFolder } from "../formats/fixtures.ts";

describe("writeFileAtomic", () => {
  it("makes folders, replaces, and leaves nothing else", async () => {
    const folder = await temporaryFolder();
    const path = join(folder, "a", "b.txt");
    await writeFileAtomic(path, "öne");
    expect(await readFile(path, "utf8")).toBe("öne");
    await writeFileAtomic(path, new Uint8Array([50]));
    expect(await readFile(path, "utf8")).toBe("2");
    await writeFileAtomic(path, async (write) => {
      for (const text of ["3", "", "45"]) await write(Buffer.from(text));
    });
    expect(await readFile(path, "utf8")).toBe("345");
    expect(await readdir(join(folder, "a"))).toEqual(["b.txt"]);
  });

  it("keeps the old content, and nothing else, where the new one fails", async () => {
    const folder = await temporaryFolder();
    const path = join(folder, "file");
    await writeFileAtomic(path, "old");
    const failing = writeFileAtomic(path, async (write) => {
      await write(Buffer.from("new"));
      throw new Error("boom");
    });
    expect((await failure(failing)).message).toBe("boom");
    expect(await readFile(path, "utf8")).toBe("old");
    expect(await readdir(folder)).toEqual(["file"]);
  });

  it("says what the disk refused", async () => {
    const folder = await temporaryFolder();
    await writeFile(join(folder, "file"), "");
    const error = await failure(writeFileAtomic(join(folder, "file", "x"), "y"));
    expect(error).toMatchObject({ code: "storage" });
    expect(error.message).toMatch(/cannot write .*x: a part of the path is a file/);
    await writeFileAtomic(join(folder, "folder", "x"), "");
    expect((await failure(writeFileAtomic(join(folder, "folder"), "y"))).message).toMatch(
      /folder: a folder has that name$/,
    );
    expect((await readdir(folder)).sort()).toEqual(["file", "folder"]);
    const full = await failure(
      storing("/x", async () => {
        throw Object.assign(new Error("boom"), { code: "ENOSPC" });
      }),
    );
    expect(full.message).toBe("cannot write /x: no space left on the disk");
  });

  it.skipIf(process.platform === "win32" || process.getuid?.() === 0)(
    "names a folder it may not write",
    async () => {
      const folder = await temporaryFolder();
      await chmod(folder, 0o500);
      expect((await failure(writeFileAtomic(join(folder, "x"), "y"))).message).toMatch(/no permission/);
      await chmod(folder, 0o700);
    },
  );
});

it("temporary names lie beside the file and are never the same", () => {
  const names = new Set(Array.from({ length: 100 }, () => temporaryPath("/a/b.bin")));
  expect(names.size).toBe(100);
  for (const name of names)
    expect(name).toMatch(new RegExp(`^/a/b\\.bin\\.partial\\.[\\w-]+\\.${process.pid}\\.`));
});

import { execFileSync } from "node:child_process";
import { chmod, mkdir, open, rm, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { LowrankError } from "../../src/errors.ts";
import { openModel } from "../../src/formats/open-model.ts";
import { readAdapterConfig, readAdapterWeights } from "../../src/formats/peft/folder.ts";
import { resolveModel } from "../../src/hub/resolve.ts";
import { exists, hashFile } from "../../src/io/download.ts";
import { makeFolder, readFolder } from "../../src/io/folder.ts";
import { fileFault, openRegular, readRegular } from "../../src/io/regular-file.ts";
import { openZipMember } from "../../src/io/zip.ts";
import { failure, temporaryFolder } from "../formats/fixtures.ts";

const isPosix = process.platform !== "win32";
const POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 123456789\n";

describe.runIf(isPosix)("what is no regular file", () => {
  it("is refused at once, with its kind", async () => {
    const folder = await temporaryFolder();
    const path = (name: string): string => join(folder, name);
    execFileSync("mkfifo", [path("fifo")]);
    await symlink(path("fifo"), path("to-fifo"));
    await symlink("/dev/zero", path("zero"));
    await symlink(path("circle"), path("circle"));
    const server = createServer().listen(path("socket"));
    const found = Object.fromEntries(
      await Promise.all(
        ["fifo", "to-fifo", "zero", "socket", "circle", ""].map(async (name) => [
          name,
          await fileFault(path(name)),
        ]),
      ),
    );
    server.close();
    expect(found).toEqual({
      fifo: "is not a regular file (a FIFO)",
      "to-fifo": "is not a regular file (a FIFO)",
      zero: "is not a regular file (a device)",
      socket: "is not a regular file (a socket)",
      circle: "cannot be read (ELOOP, its links lead in a circle)",
      "": "is not a regular file (a folder)",
    });
    expect(await fileFault(path("gone"))).toBeNull();
  });

  it("is so for every reader", async () => {
    const folder = await temporaryFolder();
    for (const name of ["adapter_config.json", "adapter_model.safetensors", "model.gguf", "a.zip"])
      execFileSync("mkfifo", [join(folder, name)]);
    for (const reading of [
      () => readAdapterConfig(folder),
      () => readAdapterWeights(folder),
      () => openModel(join(folder, "model.gguf")),
      () => openZipMember(join(folder, "a.zip"), "x"),
      () => hashFile(join(folder, "a.zip")),
    ]) {
      const error = await failure(reading());
      expect(error).toBeInstanceOf(LowrankError);
      expect(error.message).toMatch(/is not a regular file \(a FIFO\)$/);
    }
  });

  it.runIf(process.getuid?.() === 0)(
    "and a folder without permission is told from one that is not there",
    async () => {
      const folder = await temporaryFolder();
      await mkdir(join(folder, "closed"));
      await writeFile(join(folder, "closed", "file"), "x");
      await chmod(folder, 0o755);
      await chmod(join(folder, "closed"), 0o700);
      process.seteuid?.(65534);
      try {
        const closed = join(folder, "closed");
        const refused = /closed.*: cannot be read \(EACCES, no permission\)$/;
        for (const reading of [
          () => readFolder(closed),
          () => exists(join(closed, "file")),
          () => resolveModel(join(closed, "m")),
        ])
          expect((await failure(reading())).message).toMatch(refused);
        expect(await fileFault(join(closed, "file"))).toBe("cannot be read (EACCES, no permission)");
      } finally {
        process.seteuid?.(0);
      }
    },
  );
});

it("a Git LFS pointer is named as one, with the size of the file that it stands for", async () => {
  const path = join(await temporaryFolder(), "model.safetensors");
  await writeFile(path, POINTER);
  expect((await failure(openRegular(path))).message).toMatch(
    /model\.safetensors: is a Git LFS pointer, .* has 123456789 bytes; fetch it: git lfs pull$/,
  );
  await writeFile(path, POINTER.replace("size", "sizes"));
  expect(await fileFault(path)).toBeNull();
  await writeFile(path, `${POINTER}${"x".repeat(1024)}`);
  expect(await fileFault(path)).toBeNull();
});

it("files are read whole up to their limit, and say it beyond", async () => {
  const path = join(await temporaryFolder(), "config.json");
  await writeFile(path, "x".repeat(3_000_000));
  expect((await readRegular(path, 3_000_000)).length).toBe(3_000_000);
  expect((await failure(readRegular(path, 2_999_999))).message).toMatch(
    /config\.json: has 3000000 bytes, the limit for such a file is 2999999$/,
  );
  const sparse = await open(path, "w");
  await sparse.truncate(2 ** 40);
  await sparse.close();
  expect((await failure(readRegular(path, 1000))).message).toMatch(/has 1099511627776 bytes/);
  await rm(path);
  expect((await failure(readRegular(path, 1000))).message).toMatch(/no such file$/);
});

describe("makeFolder", () => {
  it("makes all that is missing, and takes what is there", async () => {
    const folder = join(await temporaryFolder(), "a", "b", "c");
    await Promise.all([makeFolder(folder), makeFolder(folder), makeFolder(`${folder}/`)]);
    expect(await readFolder(folder)).toEqual([]);
    await writeFile(join(folder, "file"), "");
    expect(await failure(makeFolder(join(folder, "file")))).toMatchObject({ code: "EEXIST" });
    expect(await failure(makeFolder(join(folder, "file", "x")))).toMatchObject({ code: "ENOTDIR" });
    expect((await failure(readFolder(join(folder, "file")))).message).toMatch(/is a file, not a folder$/);
  });

  it.runIf(process.platform === "linux")(
    "ends below /proc and /sys, where no folder can be made",
    async () => {
      for (const path of ["/proc/lowrank/x", "/sys/lowrank/x"])
        expect(await failure(makeFolder(path))).toMatchObject({ syscall: "mkdir" });
    },
  );
});

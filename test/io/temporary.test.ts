import { spawn, spawnSync } from "node:child_process";
import { mkdir, readdir, readFile, utimes, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import type { Writable } from "node:stream";
import { expect, it, onTestFinished } from "vitest";
import { requireFreeFolder, writeModelFolder } from "../../src/formats/hf/save.ts";
import { openModel } from "../../src/formats/open-model.ts";
import { add } from "../../src/graph/ops/index.ts";
import { input } from "../../src/graph/value.ts";
import { writeFileAtomic } from "../../src/io/disk.ts";
import { finalPath, isRunning, removeLeftovers, temporaryPath } from "../../src/io/temporary.ts";
import { openRuntime } from "../../src/runtime/runtime.ts";
import { copyOf, temporaryFolder } from "../formats/fixtures.ts";

const dead = (path: string): string =>
  temporaryPath(path).replace(`.${process.pid}.`, `.${spawnSync(process.execPath, ["-e", ""]).pid}.`);

it("what dead processes left is removed by the next writer in the folder, what others write is not", async () => {
  const folder = await temporaryFolder();
  const [left, nested, own, foreign] = [
    dead(join(folder, "m")),
    dead(dead(join(folder, "n"))),
    temporaryPath(join(folder, "m")),
    join(folder, "m.partial.another-host.1.0123abcd"),
  ] as const;
  for (const path of [left, own]) {
    await mkdir(path);
    await writeFile(join(path, "model.safetensors"), "x");
    await utimes(path, 1, 1); // a folder's time says nothing of its files
  }
  for (const path of [nested, foreign, join(folder, "d.partial")]) await writeFile(path, "x");
  const source = await openModel(await copyOf("llama"));
  onTestFinished(source.close);
  await writeModelFolder(join(folder, "other"), source);
  expect((await readdir(folder)).sort()).toEqual(
    ["d.partial", basename(foreign), basename(own), "other"].sort(),
  );
  await utimes(foreign, 1, 1);
  await writeFileAtomic(join(folder, "m"), "x");
  expect((await readdir(folder)).sort()).toEqual(["d.partial", "m", basename(own), "other"].sort());
});

it("an output folder that holds nothing but leftovers is free", async () => {
  const folder = await temporaryFolder();
  await writeFile(dead(join(folder, "adapter_model.safetensors")), "x");
  await requireFreeFolder(folder);
  expect(await readdir(folder)).toEqual([]);
});

it("graphs of killed processes are removed when the next is loaded", async () => {
  const folder = await temporaryFolder();
  await writeFile(dead(join(folder, ".graph")), "x");
  const runtime = openRuntime();
  onTestFinished(runtime.close);
  const x = input("x", "float32", [1]);
  const session = await runtime.load({ y: add(x, x) }, { folder });
  await session.close();
  expect(await readdir(folder)).toEqual([]);
});

it.runIf(process.platform === "linux")(
  "a process that has ended, and was not asked for, does not run",
  async () => {
    // The shell starts a process that ends when its input does, and becomes one that never asks for it. The input ends after the
    // shell is gone, which could have asked.
    const shell = spawn("sh", ["-c", "cat <&3 & echo $!; exec sleep 20 3<&-"], {
      stdio: ["ignore", "pipe", "ignore", "pipe"],
    });
    onTestFinished(() => void shell.kill());
    const [, output, , input] = shell.stdio;
    const pid = Number(await new Promise((resolve) => output?.once("data", resolve)));
    await expect.poll(() => readFile(`/proc/${shell.pid}/comm`, "utf8")).toBe("sleep\n");
    (input as Writable).end();
    await expect.poll(() => readFile(`/proc/${pid}/stat`, "utf8")).toMatch(/\) Z /);
    expect(isRunning(pid)).toBe(false);
    expect(isRunning(process.pid)).toBe(true);
  },
);

it("the final path of a temporary one", async () => {
  expect(finalPath(temporaryPath(temporaryPath("/a/b.bin")))).toBe("/a/b.bin");
  expect(finalPath("/a/b.partial")).toBe("/a/b.partial");
  await removeLeftovers("/gone");
});

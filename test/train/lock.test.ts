import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { lockRunFolder } from "../../src/train/lock.ts";
import { ownIdentity, processState } from "../../src/train/process.ts";
import { distFile } from "../cli/run-cli.ts";

const HOLDER = fileURLToPath(new URL("./hold-lock.mjs", import.meta.url));

interface Holder {
  readonly process: ChildProcess;
  /** "held", or the error's message. */
  readonly said: Promise<string>;
}

/** Another process that takes the lock, says how it went, and holds it until it is killed. */
function holder(folder: string): Holder {
  const child = spawn(process.execPath, [HOLDER, distFile("train/lock.js"), folder]);
  const said = new Promise<string>((resolve) =>
    child.stdout.once("data", (data) => resolve(String(data).trim())),
  );
  return { process: child, said };
}

async function killed(child: ChildProcess): Promise<void> {
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGKILL");
  await ended;
}

async function newFolder(): Promise<string> {
  return mkdtemp(join(tmpdir(), "lowrank-lock-"));
}

test("a held folder is refused by name of the process, and free again after release", async () => {
  const folder = await newFolder();
  const release = await lockRunFolder(folder);
  await expect(lockRunFolder(folder)).rejects.toThrow(`${folder} is in use by this process`);
  const other = holder(folder);
  expect(await other.said).toContain(`in use by process ${process.pid};`);
  await killed(other.process);
  await release();
  await release();
  expect(await readdir(folder)).toEqual([]);
  await (await lockRunFolder(folder))();
});

test("after kill -9 the folder is taken over at once", async () => {
  const folder = await newFolder();
  const other = holder(folder);
  expect(await other.said).toBe("held");
  await expect(lockRunFolder(folder)).rejects.toThrow(`in use by process ${other.process.pid};`);
  await killed(other.process);
  const release = await lockRunFolder(folder);
  expect(await readdir(folder)).toEqual(["lock.2"]);
  await release();
});

test("of many that find a dead holder at once, one wins", async () => {
  const folder = await newFolder();
  const dead = { ...(await ownIdentity()), startTicks: "1" };
  await writeFile(join(folder, "lock.7"), JSON.stringify(dead));
  const contenders = Array.from({ length: 6 }, () => holder(folder));
  const said = await Promise.all(contenders.map((contender) => contender.said));
  expect(said.filter((text) => text === "held")).toHaveLength(1);
  expect(said.filter((text) => text.includes("is in use by process"))).toHaveLength(5);
  for (const contender of contenders) await killed(contender.process);
}, 20_000);

test("many takers in one process: one wins, in every round", async () => {
  const folder = await newFolder();
  for (let round = 0; round < 20; round++) {
    const dead = { ...(await ownIdentity()), startTicks: "1" };
    await writeFile(join(folder, `lock.${round + 1}`), JSON.stringify(dead));
    const results = await Promise.allSettled(Array.from({ length: 8 }, () => lockRunFolder(folder)));
    const winners = results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
    expect(winners).toHaveLength(1);
    await winners[0]?.();
    expect(await readdir(folder)).toEqual([]);
  }
});

test("a number given to another process, a reboot and a torn lock are no holders; another machine may be", async () => {
  const own = await ownIdentity();
  expect(await processState(own)).toBe("alive");
  if (own.startTicks !== null) expect(await processState({ ...own, startTicks: "1" })).toBe("gone");
  expect(await processState({ ...own, boot: "another boot" })).toBe("gone");
  expect(await processState({ ...own, host: "elsewhere" })).toBe("unknown");
  const folder = await newFolder();
  await writeFile(join(folder, "lock.1"), '{"pid": 1');
  await (await lockRunFolder(folder))();
  await writeFile(join(folder, "lock.1"), JSON.stringify({ ...own, host: "elsewhere" }));
  await expect(lockRunFolder(folder)).rejects.toThrow(/on elsewhere.*delete .*lock\.1/s);
  expect(await readFile(join(folder, "lock.1"), "utf8")).toContain("elsewhere");
});

import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { runNode } from "../cli/run-cli.ts";
import { temporaryFolder } from "../formats/fixtures.ts";

const RUN = fileURLToPath(new URL("run.mjs", import.meta.url));

/** Readers that fail in every way that counts, and some that do not. */
const TABLE = `
import { FormatError } from "${new URL("../../dist/errors.js", import.meta.url)}";
const files = new Map([["a.json", Buffer.from('{"a": 1}')]]);
const reader = (name, read) => ({ name, files, read });
export const targets = async () => [
  reader("sound", async () => undefined),
  reader("refuses", async () => { throw new FormatError("a.json", "is not sound"); }),
  reader("throws", async () => { undefined.x; }),
  reader("strays", async () => { Promise.reject(new Error("stray")); }),
  reader("hangs", () => new Promise(() => undefined)),
  reader("spins", async () => { for (;;); }),
  reader("grows", async () => { const all = []; for (;;) all.push(new Array(1e6).fill({})); }),
  reader("exits", async () => process.exit(3)),
  { ...reader("waits", async () => { undefined.x; }), pending: "known" },
];
`;

test("failures of every kind are found, counted and kept with their input", async () => {
  const folder = await temporaryFolder();
  const [table, out] = [join(folder, "table.mjs"), join(folder, "out")];
  await writeFile(table, TABLE);
  const args = [RUN, "--cases", "1", "--seed", "7", "--table", table, "--out", out, "--limit-ms", "3000"];
  const { exitCode, stdout } = await runNode(args);
  expect(exitCode).toBe(1);
  expect(stdout).toContain("not run: waits (known)\n");
  expect(stdout.trimEnd().split("\n").at(-1)).toBe(
    "8 inputs to 8 readers, seed 7: failed: throws 1, strays 1, hangs 1, spins 1, grows 1, exits 1",
  );
  expect((await readdir(out)).sort()).toEqual(
    ["exits", "grows", "hangs", "spins", "strays", "throws"].map((name) => `${name}-7000000`),
  );
  expect(await readFile(join(out, "hangs-7000000", "failure.txt"), "utf8")).toMatch(
    /seed 7000000\ntook more than 3 s/,
  );
  expect(await readdir(join(out, "hangs-7000000", "input"))).toEqual(["a.json"]);
});

test("every reader takes damaged input, or refuses it with an error of ours", async () => {
  const out = join(await temporaryFolder(), "out");
  const { exitCode, stdout } = await runNode([RUN, "--cases", "25", "--seed", "1", "--out", out]);
  expect([exitCode, stdout]).toEqual([
    0,
    expect.stringMatching(/\d+ inputs to \d+ readers, seed 1: none failed\n$/),
  ]);
});

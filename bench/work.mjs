/** The work of the training, evaluation and decoding graphs and of packing, as counted and committed: no timing, no weights.
 *  `test/train/work.test.ts` fails where the count differs from the file.
 *    node bench/work.mjs            prints the file as a table
 *    node bench/work.mjs --update   counts again, and writes what is new */
import { spawnSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const { values } = parseArgs({ options: { update: { type: "boolean", default: false } } });
const root = fileURLToPath(new URL("..", import.meta.url));
if (values.update) {
  const vitest = fileURLToPath(new URL("../node_modules/vitest/vitest.mjs", import.meta.url));
  const args = [vitest, "run", "test/train/work.test.ts", "--update"];
  const { status } = spawnSync(process.execPath, args, {
    cwd: root,
    stdio: ["ignore", "inherit", "inherit"],
  });
  if (status !== 0) process.exit(status ?? 1);
}
const counted = JSON.parse(await readFile(new URL("./results/work.json", import.meta.url), "utf8"));
const integer = (x) => x.toLocaleString("en-US");
for (const [name, numbers] of Object.entries(counted)) {
  const parts = Object.entries(numbers).filter(([, value]) => typeof value === "number");
  process.stdout.write(`${name}\n  ${parts.map(([what, x]) => `${what} ${integer(x)}`).join(", ")}\n`);
}

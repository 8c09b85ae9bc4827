// Runs the cases that the parent asks for, one at a time: changed input, read; says what came of it.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { LowrankError } from "../../dist/errors.js";
import { random } from "../../dist/tensor/random.js";
import { mutated } from "./mutate.mjs";

const RSS_LIMIT_BYTES = 1.5 * 2 ** 30;

const folder = mkdtempSync(join(tmpdir(), "lowrank-fuzz-"));
process.on("disconnect", () => process.exit());
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

const { targets: makeTargets } = await import(pathToFileURL(process.argv[2]).href);
const targets = new Map((await makeTargets(folder)).map((target) => [target.name, target]));
const input = join(folder, "input");

/** The files of a case: those of the target, one of them changed. */
function filesOf({ files, changes = /./ }, seed) {
  const generator = random(seed);
  const names = [...files.keys()].filter((name) => changes.test(name));
  const changed = names[generator.below(names.length)];
  return [...files].map(([name, bytes]) => [name, name === changed ? mutated(bytes, generator) : bytes]);
}

function write(to, files) {
  rmSync(to, { recursive: true, force: true });
  mkdirSync(to, { recursive: true });
  for (const [name, bytes] of files) {
    mkdirSync(dirname(join(to, name)), { recursive: true });
    writeFileSync(join(to, name), bytes);
  }
}

let stray = null;
process.on("unhandledRejection", (error) => {
  stray = error instanceof Error ? error.stack : String(error);
});

async function outcome(target) {
  stray = null;
  try {
    await target.read(target.file === undefined ? input : join(input, target.file));
  } catch (error) {
    if (!(error instanceof LowrankError)) return error instanceof Error ? error.stack : String(error);
    if (error.message.length > 20_000) return `an error of ${error.message.length} characters`;
  }
  await new Promise((resolve) => setTimeout(resolve, 1)); // time for promises that nobody waits for
  if (stray !== null) return `leaves a rejection that nobody handles: ${stray}`;
  const { rss } = process.memoryUsage();
  return rss > RSS_LIMIT_BYTES ? `took ${Math.round(rss / 2 ** 20)} MiB of memory` : null;
}

process.on("message", async ({ name, seed, keepAt }) => {
  const target = targets.get(name);
  write(keepAt ?? input, filesOf(target, seed));
  process.send({ failure: keepAt ? null : await outcome(target) });
});
process.send({ names: [...targets.values()].map(({ name, pending }) => ({ name, pending })) });

#!/usr/bin/env node
// npm create lowrank [folder] [-- --lowrank <version, tarball or folder>]: writes a project that trains an adapter and uses it.
import { cp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { basename, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const TEMPLATE = fileURLToPath(new URL("template", import.meta.url));
const USAGE = `usage: npm create lowrank [folder]

Writes a project into a new or empty folder (default: my-adapter): rows, a training config, scripts that train an adapter and use it.

  --lowrank <spec>  what the project depends on: a version, a tarball or a folder (default: this package's version)
  --help            print this help
`;

/** An error of whoever calls, told in one line. */
class UsageError extends Error {}

function options() {
  const flags = { lowrank: { type: "string" }, help: { type: "boolean", short: "h" } };
  try {
    const { values, positionals } = parseArgs({ options: flags, allowPositionals: true });
    if (positionals.length > 1) throw new Error(`expected one folder, got ${positionals.join(", ")}`);
    return { ...values, folder: resolve(positionals[0] ?? "my-adapter") };
  } catch (error) {
    throw new UsageError(`${error.message}\n\n${USAGE}`);
  }
}

/** A folder's name as npm takes it for a package. */
function packageName(folder) {
  const name = basename(folder)
    .toLowerCase()
    .replace(/[^a-z0-9-]+/g, "-")
    .replace(/^-+|-+$/g, "");
  return name === "" ? "my-adapter" : name;
}

/** @throws UsageError if there is something that would be written over */
async function checkEmpty(folder) {
  const entries = await readdir(folder).catch((error) => {
    if (error.code === "ENOENT") return [];
    throw new UsageError(`${folder}: expected a new or an empty folder (${error.code})`);
  });
  const count = `${entries.length} ${entries.length === 1 ? "file or folder" : "files or folders"}`;
  if (entries.length > 0)
    throw new UsageError(`${folder}: expected a new or an empty folder, got ${count} in it`);
}

/** Writes the project, or where that fails nothing: the folder was empty. */
async function write(folder, spec) {
  const entries = await readdir(TEMPLATE);
  try {
    await cp(TEMPLATE, folder, { recursive: true });
    await rename(join(folder, "_gitignore"), join(folder, ".gitignore")); // npm leaves .gitignore out of packages
    const path = join(folder, "package.json");
    const manifest = JSON.parse(await readFile(path, "utf8"));
    const own = { name: packageName(folder), dependencies: { ...manifest.dependencies, lowrank: spec } };
    await writeFile(path, `${JSON.stringify({ ...manifest, ...own }, null, 2)}\n`);
  } catch (error) {
    const written = [...entries, ".gitignore"].map((name) => join(folder, name));
    await Promise.all(written.map((path) => rm(path, { recursive: true, force: true })));
    throw error;
  }
}

async function main() {
  const { folder, help, lowrank } = options();
  if (help) return process.stdout.write(USAGE);
  const { version } = JSON.parse(await readFile(new URL("package.json", import.meta.url), "utf8"));
  await checkEmpty(folder);
  await write(folder, lowrank ?? `^${version}`);
  const place = relative(process.cwd(), folder) || ".";
  process.stdout.write(`wrote a project to ${place}. Next:

  cd ${/\s/.test(place) ? `'${place}'` : place}
  npm install
  npm run train      # fetches SmolLM2-135M once, then about three minutes on two CPU cores
  npm run use "Friday, noon: tennis with Ines"

Your own rows go into data/train.jsonl and data/test.jsonl, options into lowrank.yaml.
`);
}

try {
  await main();
} catch (error) {
  process.stderr.write(`error: ${error instanceof UsageError ? error.message : error.stack}\n`);
  process.exitCode = 1;
}

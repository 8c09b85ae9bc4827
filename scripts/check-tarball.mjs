// Packs the package, installs the tarball in an empty project and uses it there as a stranger would: the command, the library and its
// subpaths, and the types. Needs a build and the network (or npm's cache).
// usage: npm run build && node scripts/check-tarball.mjs
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const FIXTURES = join(ROOT, "test/fixtures");
const LIMIT_MS = 300_000;
const run = promisify(execFile);

/** What a program writes to standard output. @throws where it fails, with what it wrote to standard error */
async function output(cwd, program, ...args) {
  const { stdout } = await run(program, args, { cwd, timeout: LIMIT_MS, env: cleanEnvironment() });
  return stdout.trim();
}

/** Without what `npm run` tells its children: npm in the other project would take it for its own settings. */
function cleanEnvironment() {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^npm_/i.test(name)));
}

/** An empty project with the tarball installed. onnxruntime-node's install script only fetches libraries for CUDA. */
async function install(folder) {
  const packed = JSON.parse(await output(ROOT, "npm", "pack", "--json", "--pack-destination", folder));
  await writeFile(join(folder, "package.json"), JSON.stringify({ private: true, type: "module" }));
  const flags = ["--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund"];
  await output(folder, "npm", "install", ...flags, join(folder, packed[0].filename));
  return packed[0];
}

const USE = `
import assert from "node:assert/strict";
import { loadModel, readAdapter } from "lowrank";
import { openSafetensors, readAdapter as sameReader } from "lowrank/formats";
import { constant, floats, gradients, input, matmul, serialize, sumAll } from "lowrank/graph";

const adapter = await readAdapter("adapter");
assert.equal(adapter.config.rank, 4);
assert.equal(sameReader, readAdapter);
const file = await openSafetensors("adapter/adapter_model.safetensors");
assert.ok(file.entries.size > 0);
await file.close();
const x = input("x", "float32", [1, 2]);
const [dx] = gradients(sumAll(matmul(x, constant(floats(Float32Array.of(1, 2), [2, 1])))), [x]);
assert.ok(serialize({ dx }).bytes.length > 50);
const model = await loadModel({ model: "model", offline: true, threads: 1 });
const { text, finishReason } = await model.generateText({ prompt: "a", raw: true, maxTokens: 3 });
await model.close();
assert.ok(["length", "end"].includes(finishReason));
console.log(JSON.stringify({ text, finishReason }));
`;

/** What the types must allow, and the one thing that they must not. */
const TYPES = `
import { type TrainEvent, train } from "lowrank";
import { openSafetensors } from "lowrank/formats";
import { input, serialize, type Value } from "lowrank/graph";

const events: AsyncGenerator<TrainEvent> = train({ rank: 8 });
// @ts-expect-error a rank is a number
train({ rank: "8" });
const x: Value = input("x", "float32", [1]);
export const sizes: Promise<number>[] = [openSafetensors("a").then((file) => file.entries.size)];
export { events, serialize, x };
`;

async function checkTypes(folder) {
  await writeFile(join(folder, "types.ts"), TYPES);
  const tsc = join(ROOT, "node_modules/.bin/tsc");
  const types = ["--typeRoots", join(ROOT, "node_modules/@types"), "--types", "node"];
  for (const [module, resolution] of [
    ["NodeNext", "NodeNext"],
    ["ESNext", "bundler"],
  ]) {
    const flags = ["--noEmit", "--strict", "--target", "ES2023", "--module", module];
    await output(folder, tsc, ...flags, "--moduleResolution", resolution, ...types, "types.ts");
  }
}

async function check(folder) {
  const { name, version } = JSON.parse(await readFile(join(ROOT, "package.json"), "utf8"));
  const { files, size } = await install(folder);
  console.log(`${files.length} files, ${(size / 1e6).toFixed(1)} MB packed`);
  await cp(join(FIXTURES, "models/llama"), join(folder, "model"), { recursive: true });
  await cp(join(FIXTURES, "peft/qv"), join(folder, "adapter"), { recursive: true });
  assert.equal(await output(folder, "npx", "--no-install", name, "--version"), version);
  assert.match(
    await output(folder, "npx", "--no-install", name, "inspect", "model"),
    /LlamaForCausalLM|llama/,
  );
  console.log("the command runs");
  await writeFile(join(folder, "use.mjs"), USE);
  console.log(`the library runs: ${await output(folder, process.execPath, "use.mjs")}`);
  await checkTypes(folder);
  console.log("the types fit");
}

const folder = await mkdtemp(join(tmpdir(), "lowrank-tarball-"));
try {
  await check(folder);
} finally {
  await rm(folder, { recursive: true, force: true });
}

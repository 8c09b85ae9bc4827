import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadDataset } from "../../src/data/dataset.ts";
import { loadTrainConfig } from "../../src/train/config/file.ts";
import { distFile, type Ran, runNode } from "../cli/run-cli.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const CREATE = join(ROOT, "create-lowrank/create.mjs");
const FILES = [
  ".gitignore",
  "README.md",
  "data/LICENSE",
  "data/test.jsonl",
  "data/train.jsonl",
  "lowrank.yaml",
  "package.json",
  "train.mjs",
  "use.mjs",
];

const here = process.cwd();
let work = "";
let project = "";
let created: Ran;
beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), "lowrank-create-"));
  project = join(work, "My notes");
  created = await runNode([CREATE, "My notes"], { cwd: work });
});
afterAll(() => process.chdir(here));

const text = (path: string): Promise<string> => readFile(join(project, path), "utf8");
const files = async (folder: string): Promise<string[]> => {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((e) => e.isFile())
    .map((e) => join(e.parentPath, e.name).slice(folder.length + 1))
    .sort();
};

describe("npm create lowrank", () => {
  test("writes a project that depends on this version, and says what comes next", async () => {
    expect(created).toMatchObject({ exitCode: 0, stderr: "" });
    expect(created.stdout).toContain("cd 'My notes'\n  npm install\n  npm run train");
    expect(await files(project)).toEqual(FILES);
    const [manifest, own] = await Promise.all(
      [join(project, "package.json"), join(ROOT, "package.json")].map(async (p) =>
        JSON.parse(await readFile(p, "utf8")),
      ),
    );
    expect(manifest).toMatchObject({ name: "my-notes", dependencies: { lowrank: `^${own.version}` } });
    expect(manifest.engines).toEqual(own.engines);
    const creator = JSON.parse(await readFile(join(ROOT, "create-lowrank/package.json"), "utf8"));
    expect([creator.version, creator.engines]).toEqual([own.version, own.engines]);
  });

  test("its config and its rows are what the config reader and the data reader take", async () => {
    process.chdir(project);
    const config = await loadTrainConfig({ flags: {}, configFile: "lowrank.yaml" });
    expect(config).toMatchObject({ rank: 8, alpha: 16, learningRate: 1e-3, output: "runs/first" });
    const data = await loadDataset({ source: config.data, test: config.testData });
    expect([data.train.length, data.test.length, data.duplicates.test]).toEqual([240, 40, 0]);
  });

  test("its commands name what is there", async () => {
    const { scripts } = JSON.parse(await text("package.json")) as { scripts: Record<string, string> };
    const readme = await text("README.md");
    for (const [, name] of readme.matchAll(/npm run (\w+)/g)) expect(scripts).toHaveProperty(name as string);
    const paths = Object.values(scripts).flatMap((script) => script.match(/\S+\.(?:mjs|yaml|jsonl)/g) ?? []);
    for (const path of paths) expect(FILES).toContain(path);
  });

  test("its scripts use public names alone, with their types", { timeout: 60_000 }, async () => {
    const names = { lowrank: [distFile("index.d.ts")] };
    const modules = { module: "NodeNext", target: "ES2023", paths: names };
    const types = { types: ["node"], typeRoots: [join(ROOT, "node_modules/@types")] };
    const checks = { noEmit: true, strict: true, allowJs: true, checkJs: true, skipLibCheck: true };
    const compilerOptions = { ...modules, ...types, ...checks };
    await writeFile(join(project, "tsconfig.json"), JSON.stringify({ compilerOptions, include: ["*.mjs"] }));
    const tsc = join(ROOT, "node_modules/.bin/tsc");
    const checked = await promisify(execFile)(tsc, ["-p", project], { cwd: ROOT }).catch((error) => error);
    expect(checked.stdout).toBe("");
  });

  test("refuses a folder that holds something, and writes nothing", async () => {
    const folder = join(work, "taken");
    await mkdir(folder);
    await writeFile(join(folder, "mine.txt"), "mine");
    const ran = await runNode([CREATE, folder]);
    expect(ran.exitCode).toBe(1);
    expect(ran.stderr).toBe(
      `error: ${folder}: expected a new or an empty folder, got 1 file or folder in it\n`,
    );
    expect(await readdir(folder)).toEqual(["mine.txt"]);
    const file = await runNode([CREATE, join(folder, "mine.txt")]);
    expect(file.stderr).toContain("expected a new or an empty folder (ENOTDIR)");
  });

  test("takes an empty folder and another lowrank, and refuses other options", async () => {
    const folder = join(work, "empty");
    await mkdir(folder);
    expect((await runNode([CREATE, ".", "--lowrank", "file:../lowrank.tgz"], { cwd: folder })).exitCode).toBe(
      0,
    );
    const manifest = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
    expect(manifest.dependencies).toEqual({ lowrank: "file:../lowrank.tgz" });
    const ran = await runNode([CREATE, "--model", "x"], { cwd: work });
    expect(ran.exitCode).toBe(1);
    expect(ran.stderr).toMatch(/^error: Unknown option '--model'/);
  });
});

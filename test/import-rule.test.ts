import { spawnSync } from "node:child_process";
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";
import { LAYERS, withRules } from "../scripts/import-rules.mjs";
import { importsOf, sourceFiles } from "../scripts/source-imports.mjs";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const BIOME = join(ROOT, "node_modules/@biomejs/biome/bin/biome");

const FORBIDDEN = [
  ["src/tensor", "../graph/value.ts"],
  ["src/tensor", "../io/folder.ts"],
  ["src/io", "../formats/names.ts"],
  ["src/text", "../data/batch.ts"],
  ["src/formats", "../models/families.ts"],
  ["src/graph", "../cli/main.ts"],
  ["src/graph", "../runtime/runtime.ts"],
  ["src/graph/ops", "../../models/family.ts"],
  ["src/formats", "../hub/resolve.ts"],
  ["src/formats", "../peft/method.ts"],
  ["src/formats/gguf", "../../peft/method.ts"],
  ["src/hub", "../data/batch.ts"],
  ["src/hub", "../peft/method.ts"],
  ["src/evaluate", "../cli/main.ts"],
  ["src/runtime", "../peft/methods/lora.ts"],
  ["src/optim", "../train/step-graphs.ts"],
  ["src/models", "../peft/methods/lora.ts"],
  ["src/data", "../train/step-graphs.ts"],
  ["src/peft", "../train/step-graphs.ts"],
  ["src/train", "../server/app.ts"],
  ["src/generate", "../cli/main.ts"],
  ["src/server", "../cli/main.ts"],
  ["src/graph", "onnxruntime-node"],
  ["src/train", "onnxruntime-node"],
  ["src/cli", "onnxruntime-common"],
  ["bench", "../src/graph/value.ts"],
  ["experiments", "../src/train/step-graphs.ts"],
  ["experiments", "onnxruntime-node"],
] as const;

const ALLOWED = [
  ["src/formats", "./peft/config.ts"],
  ["src/formats/gguf", "../peft/config.ts"],
  ["src/hub", "../formats/peft/config.ts"],
  ["src/inspect", "../train/step-graphs.ts"],
  ["src/formats", "../io/folder.ts"],
  ["src/graph", "../tensor/tensor.ts"],
  ["src/graph", "./value.ts"],
  ["src/graph", "./ops/index.ts"],
  ["src/runtime", "onnxruntime-node"],
  ["src/runtime", "../graph/value.ts"],
  ["src/models", "../graph/ops/index.ts"],
  ["src/train", "../generate/decode.ts"],
  ["src/cli", "../train/step-graphs.ts"],
  ["bench", "../src/index.ts"],
] as const;

// A copy of the rules in a folder of its own: a violation in the source tree would break whatever reads that tree meanwhile.
const folder = mkdtempSync(join(tmpdir(), "lowrank-lint-"));
for (const name of ["biome.json", ".gitignore"]) copyFileSync(join(ROOT, name), join(folder, name));
afterAll(() => rmSync(folder, { recursive: true }));

/** Lints one file in `from` that imports `target`. */
function lint(from: string, target: string): { status: number | null; report: string } {
  const path = join(folder, from, "file.ts");
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `import { thing } from "${target}";\n\nexport const copy: unknown = thing;\n`);
  const args = [BIOME, "lint", "--error-on-warnings", path];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: folder, encoding: "utf8" });
  return { status, report: stdout + stderr };
}

test("biome.json has the rules of the table of layers", () => {
  const text = readFileSync(join(ROOT, "biome.json"), "utf8");
  expect(withRules(text)).toEqual(JSON.parse(text));
});

test("every folder of src is in the table", () => {
  const folders = readdirSync(join(ROOT, "src"), { withFileTypes: true }).filter((entry) =>
    entry.isDirectory(),
  );
  expect(LAYERS.flat()).toEqual(expect.arrayContaining(folders.map((entry) => entry.name)));
});

/** Files of src that import each other in a circle, and must: an op's gradient is made of other ops; Python's `format` reads attributes,
 *  and attributes of a text are methods, `format` among them. */
const MUTUAL = [
  ["src/graph/ops/arithmetic.ts", "src/graph/ops/reduce.ts", "src/graph/ops/shape.ts"],
  ["src/text/jinja/attributes.ts", "src/text/jinja/format.ts", "src/text/jinja/text-methods.ts"],
];

test("no files import each other in a circle but those that must", () => {
  const paths = sourceFiles(join(ROOT, "src"));
  const imports = new Map(paths.map((path) => [path, importsOf(path)]));
  const reached = (from: string): Set<string> => {
    const seen = new Set<string>();
    const open = [...(imports.get(from) ?? [])];
    for (let path = open.pop(); path !== undefined; path = open.pop())
      if (!seen.has(path)) open.push(...(imports.get(seen.add(path) && path) ?? []));
    return seen;
  };
  const reach = new Map(paths.map((path) => [path, reached(path)]));
  const circles = paths
    .filter((path) => reach.get(path)?.has(path))
    .map((path) =>
      paths.filter((other) => reach.get(path)?.has(other) && reach.get(other)?.has(path)).sort(),
    );
  const shown = circles.map((paths) => paths.map((path) => relative(ROOT, path)));
  expect([...new Set(shown.map(String))].sort()).toEqual(MUTUAL.map(String));
});

test.each(FORBIDDEN)("%s may not import %s", (from, target) => {
  const { status, report } = lint(from, target);
  expect(report).toContain("noRestrictedImports");
  expect(status).toBe(1);
});

test.each(ALLOWED)("%s may import %s", (from, target) => {
  const { status, report } = lint(from, target);
  expect(report).not.toContain("noRestrictedImports");
  expect(status).toBe(0);
});

import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";
import { drawing } from "../scripts/architecture-drawing.mjs";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "lowrank-rooms-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** A source folder of given files. */
function source(name: string, files: Record<string, string>): string {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name, path)), { recursive: true });
    writeFileSync(join(folder, name, path), text);
  }
  return join(folder, name);
}

test("docs/rooms.svg shows the rooms and imports of the source", () => {
  const drawn = readFileSync(join(ROOT, "docs/rooms.svg"), "utf8");
  const message = "rooms or imports between them have changed; run: node scripts/architecture-drawing.mjs";
  expect(drawing(join(ROOT, "src")) === drawn, message).toBe(true);
});

test("imports of every kind are arrows; the public surface and comments are not", () => {
  const svg = drawing(
    source("kinds", {
      "index.ts": 'export { a } from "./train/a.ts";\n',
      "train/a.ts":
        'import type { B } from "../peft/b.ts";\nexport type C = import("../models/c.ts").C;\nexport const a = (b: B): B => b;\n',
      "peft/b.ts": '// import { d } from "../data/d.ts";\nexport interface B { readonly b: 1 }\n',
      "models/c.ts": 'export { d } from "../data/d.ts";\nexport type C = 1;\n',
      "data/d.ts": 'export const d = 1;\nexport const late = () => import("../text/e.ts");\n',
      "text/e.ts": "export {};\n",
      "formats/f.ts": "export {};\n",
    }),
  );
  const arrows = [...svg.matchAll(/<title>(\w+ imports \w+)<\/title>/g)].map(([, arrow]) => arrow).sort();
  expect(arrows).toEqual([
    "data imports text",
    "models imports data",
    "train imports models",
    "train imports peft",
  ]);
});

test("a room without a layer and an import upwards are refused by name", () => {
  const cellar = source("cellar", { "cellar/a.ts": "export {};\n", "errors.ts": "export {};\n" });
  expect(() => drawing(cellar)).toThrow("no layer in scripts/import-rules.mjs: cellar");
  const up = source("up", { "tensor/a.ts": 'import "../train/b.ts";\n', "train/b.ts": "export {};\n" });
  expect(() => drawing(up)).toThrow("tensor imports train, which is above it");
});

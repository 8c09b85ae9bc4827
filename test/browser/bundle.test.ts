import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { bundled, outside } from "./bundle.ts";

const ENGINE = "onnxruntime-web/*";

test("lowrank/browser reaches nothing of Node: only ONNX Runtime's package for browsers stays outside", async () => {
  const { inputs } = await bundled("src/browser/index.ts", { external: [ENGINE] });
  expect(outside(inputs).sort()).toEqual([
    "src/runtime/devices/browser-table.ts → onnxruntime-web/wasm",
    "src/runtime/devices/browser-table.ts → onnxruntime-web/webgpu",
  ]);
  // The same engine, not another one beside it.
  const files = Object.keys(inputs);
  for (const file of [
    "train/loop.ts",
    "train/step.ts",
    "data/trie.ts",
    "text/tokenizer.ts",
    "generate/loaded.ts",
  ])
    expect(files).toContain(`src/${file}`);
});

test("what imports Node would show: the checkpoints of Node's runs do", async () => {
  const { inputs } = await bundled("src/train/checkpoint.ts");
  expect(outside(inputs)).toContain("src/train/checkpoint.ts → node:fs/promises");
});

/** Where a global of Node would be used. */
const GLOBALS = /(?<![.\w"'`])(Buffer\.(from|alloc|concat|byteLength)|process\.(env|cwd|memoryUsage|exit))/g;

test("no module of ours, and none of a library but what asks first, uses a global of Node", async () => {
  const { inputs } = await bundled("src/browser/index.ts", { external: [ENGINE] });
  const found = Object.keys(inputs).flatMap((file) => {
    const text = readFileSync(new URL(`../../${file}`, import.meta.url), "utf8");
    return [...new Set(text.match(GLOBALS) ?? [])].map((name) => `${file}: ${name}`);
  });
  expect(found.filter((one) => !one.includes("csv-parse/dist/esm"))).toEqual([
    "node_modules/@bufbuild/protobuf/dist/esm/proto-int64.js: process.env", // asks whether there is one
  ]);
});

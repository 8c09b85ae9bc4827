import { mkdir, mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type BaseComparison, compareBase } from "../../src/hub/base-names.ts";
import { substitution, unquantizedCopy } from "../../src/hub/resolve.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "lowrank-test-"));
  for (const name of ["mine", "theirs", "SmolLM2-135M-Instruct.Q4_1.gguf", "SmolLM2-135M-Instruct-hf"])
    await mkdir(join(folder, name));
  await symlink(join(folder, "mine"), join(folder, "link"));
});
afterAll(() => rm(folder, { recursive: true }));

const SMOLLM2 = "HuggingFaceTB/SmolLM2-135M-Instruct";
const CACHED = "snapshots/0123";

// Named by its Hub id or alias, a model lies in a cache; else where its name says.
test.each<[adapter: string, model: string, BaseComparison]>([
  [SMOLLM2, "smollm2-135m", "same"],
  ["smollm2-135m", SMOLLM2, "same"],
  ["huggingfacetb/smollm2-135m-instruct", `${SMOLLM2}@main`, "same"],
  ["/gone/SmolLM2-135M-Instruct", "smollm2-135m", "same"],
  ["HuggingFaceTB/SmolLM2-135M", "smollm2-135m", "other"],
  ["org/one", "org/two", "other"],
  ["mlx-community/SmolLM2-135M-Instruct-4bit", "smollm2-135m", "doubtful"],
  ["mlx-community/SmolLM2-135M-Instruct-v2", "smollm2-135m", "other"],
  ["unsloth/SmolLM2-135M-Instruct-bnb-4bit", "smollm2-135m", "same"],
  ["unsloth/SmolLM2-135M-Instruct-unsloth-bnb-4bit", SMOLLM2, "same"],
  [SMOLLM2, "unsloth/SmolLM2-135M-Instruct", "same"],
  ["unsloth/SmolLM2-360M-Instruct-bnb-4bit", "smollm2-135m", "other"],
  ["./mine", "./mine", "same"],
  ["./mine", "./link", "same"],
  ["./mine", "./theirs", "other"],
  ["./mine", "org/two", "doubtful"],
  ["./gone", "./mine", "unknown"],
  ["tiny-llama", "org/two", "unknown"],
  [SMOLLM2, "./SmolLM2-135M-Instruct.Q4_1.gguf", "same"],
  [SMOLLM2, "./SmolLM2-135M-Instruct-hf", "same"],
  [SMOLLM2, "./mine", "doubtful"],
])("an adapter for %s on %s: %s", async (adapter, model, expected) => {
  const at = (name: string): string => (name.startsWith("./") ? join(folder, name) : name);
  const path = model.startsWith("./") ? at(model) : join(folder, CACHED);
  expect(await compareBase(at(adapter), { name: at(model), path, hfConfig: {} })).toBe(expected);
});

test("a copy that says what it is a copy of", async () => {
  const model = {
    name: join(folder, "mine"),
    path: join(folder, "mine"),
    hfConfig: { _name_or_path: "org/one" },
  };
  expect(await compareBase("org/one", model)).toBe("same");
});

test("Unsloth's copies in 4 bits of bitsandbytes have one in full precision", () => {
  expect(unquantizedCopy("unsloth/Llama-3.2-1B-Instruct-bnb-4bit")).toBe("unsloth/Llama-3.2-1B-Instruct");
  expect(unquantizedCopy("unsloth/gemma-3-4b-it-unsloth-bnb-4bit")).toBe("unsloth/gemma-3-4b-it");
  expect(unquantizedCopy("unsloth/Llama-3.2-1B-Instruct")).toBeNull();
  expect(unquantizedCopy("other/Llama-3.2-1B-Instruct-bnb-4bit")).toBeNull();
  expect(unquantizedCopy("unsloth/tiny-bnb-4bit@main")).toBe("unsloth/tiny");
});

test("whoever asks for a copy in 4 bits is told what is used", async () => {
  expect(await substitution("unsloth/tiny-bnb-4bit")).toBe(
    "unsloth/tiny-bnb-4bit is in 4 bits of bitsandbytes, which only PyTorch reads: unsloth/tiny is used, the same model in full precision",
  );
  expect(await substitution("unsloth/tiny")).toBeNull();
});

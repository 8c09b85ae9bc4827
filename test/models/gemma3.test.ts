import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { loadModel } from "../../src/generate/model.ts";
import type { Tensor } from "../../src/tensor/tensor.ts";
import { readTensors } from "./harness.ts";

const FOLDER = fileURLToPath(new URL("../fixtures/models/gemma3", import.meta.url));
// fp32 rounding, logits up to 8.
const LOGITS = 1e-4;

let cacheFolder: string;
beforeAll(async () => {
  cacheFolder = await mkdtemp(join(tmpdir(), "lowrank-test-"));
});
afterAll(() => rm(cacheFolder, { recursive: true }));

test.each([
  ["embedding", "LoRA on the embedding, whose rows are scaled after it"],
  ["prompt", "virtual tokens, which are not scaled"],
  ["prefix", "keys and values that slide out of the windows of the local layers"],
])("an adapter of PEFT: %s, %s", async (kind) => {
  const expected = await readTensors(join(FOLDER, "expected.safetensors"));
  const [tokens, logits] = [expected.get("input_ids"), expected.get(`${kind}.logits`)] as [Tensor, Tensor];
  const ids = Array.from((tokens.data as Int32Array).slice(0, 12));
  const want = logits.data as Float32Array;
  const options = { model: FOLDER, adapter: join(FOLDER, kind), cacheFolder, offline: true, threads: 1 };
  const model = await loadModel(options);
  try {
    const got = (await model.logits(ids)).flatMap((row) => Array.from(row));
    const worst = got.reduce((most, x, i) => Math.max(most, Math.abs(x - (want[i] as number))), 0);
    expect(got.length).toBe(want.length);
    expect(worst).toBeLessThan(LOGITS);
  } finally {
    await model.close();
  }
});

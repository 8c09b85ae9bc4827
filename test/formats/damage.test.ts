import { cp, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { LowrankError } from "../../src/errors.ts";
import { openModel } from "../../src/formats/open-model.ts";
import { familyOf } from "../../src/models/families.ts";
import { moduleWeights } from "../../src/models/family.ts";
import { checkWeights } from "../../src/models/weight-file.ts";
import { type Random, random } from "../../src/tensor/random.ts";
import { FIXTURES, temporaryFolder } from "./fixtures.ts";

/** Changes, cuts or repeats a few bytes, most often where the structure is: at the start. */
function damaged(bytes: Buffer, generator: Random): Buffer {
  const copy = Buffer.from(bytes);
  const spot = (): number => Math.floor(copy.length * generator.uniform() ** 4);
  for (let i = generator.below(4); i >= 0; i--) copy[spot()] = generator.below(256);
  if (generator.below(4) === 0) return copy.subarray(0, spot());
  if (generator.below(4) === 0) return Buffer.concat([copy.subarray(0, spot()), copy]);
  return copy;
}

/** Opens a model and reads all of it, as loading does: an error of ours, or nothing. */
async function outcome(path: string): Promise<unknown> {
  try {
    const source = await openModel(path);
    try {
      const { modules } = familyOf(source.config.family);
      const specs = modules(source.config).flatMap(moduleWeights);
      for (const weight of checkWeights(source, specs)) await weight.read();
    } finally {
      await source.close();
    }
    return null;
  } catch (error) {
    return error instanceof LowrankError ? null : error;
  }
}

test("randomly damaged GGUF files give a clear error or a model, never anything else", async () => {
  const path = join(await temporaryFolder(), "model.gguf");
  const generator = random(1);
  for (const name of ["llama.gguf", "gpt2.gguf"]) {
    const bytes = await readFile(join(FIXTURES, name));
    for (let i = 0; i < 150; i++) {
      await writeFile(path, damaged(bytes, generator));
      expect(await outcome(path)).toBeNull();
    }
  }
});

test("so do model folders with one damaged file", async () => {
  const folder = join(await temporaryFolder(), "llama");
  await cp(join(FIXTURES, "llama"), folder, { recursive: true });
  const generator = random(2);
  for (const name of await readdir(folder)) {
    const bytes = await readFile(join(folder, name));
    for (let i = 0; i < 30; i++) {
      await writeFile(join(folder, name), damaged(bytes, generator));
      expect(await outcome(folder)).toBeNull();
    }
    await writeFile(join(folder, name), bytes);
  }
});

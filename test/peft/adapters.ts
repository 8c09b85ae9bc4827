import { fileURLToPath } from "node:url";
import { DEFAULT_LORA_CONFIG, type LoraConfig } from "../../src/formats/peft/config.ts";
import type { BaseModel } from "../../src/models/base.ts";
import { writeMethods } from "../../src/peft/files/adapter.ts";
import { lora } from "../../src/peft/methods/lora.ts";
import { initialParameters } from "../../src/peft/parameters.ts";
import { random } from "../../src/tensor/random.ts";

/** A path below test/fixtures. */
export function fixturePath(path: string): string {
  return fileURLToPath(new URL(`../fixtures/${path}`, import.meta.url));
}

/** Writes an adapter for a base with parameters that were all moved away from their start, and says where it is. */
export async function makeAdapter(
  base: BaseModel,
  folder: string,
  config: Partial<LoraConfig>,
  seed = 1,
): Promise<string> {
  const { family } = base.config;
  const adaptation = lora({ ...DEFAULT_LORA_CONFIG, rank: 3, alpha: 6, ...config }, family, base.modules);
  const theta = await initialParameters(adaptation.trainables, seed, (path) => base.weights.read(path));
  const generator = random(seed, "moved");
  const moved = theta.map((x) => x + 0.2 * generator.normal());
  await writeMethods(folder, [adaptation], moved, null);
  return folder;
}

import { cp } from "node:fs/promises";
import { join } from "node:path";
import { openModel } from "../../src/formats/open-model.ts";
import type { BaseModel } from "../../src/models/base.ts";
import { weightLookups } from "../../src/models/base-context.ts";
import { openBase } from "../../src/models/base-model.ts";
import { moduleWeights } from "../../src/models/family.ts";
import { openWeightFile } from "../../src/models/weight-file.ts";
import { weightStorages } from "../../src/models/weight-storage.ts";
import { random } from "../../src/tensor/random.ts";
import { sizeOf } from "../../src/tensor/tensor.ts";
import { editJson, editWeights } from "../formats/fixtures.ts";
import { fixturePath } from "../peft/adapters.ts";

/** Sizes that are whole blocks of quantization. */
const WIDER: Readonly<Record<string, number>> = { hidden_size: 64, intermediate_size: 128, head_dim: 16 };

/** Makes a folder of the tiny llama twice as wide, with random weights. */
export async function writeWideLlama(folder: string): Promise<void> {
  await cp(fixturePath("models/llama"), folder, { recursive: true });
  await editJson(join(folder, "config.json"), (json) => ({ ...json, ...WIDER }));
  const generator = random(7, "wide");
  await editWeights(folder, (tensors) =>
    tensors.map(({ name, shape }) => {
      const wide = shape.map((d) => (d === 128 ? d : 2 * d)); // 128: the vocabulary
      const mean = wide.length === 1 ? 1 : 0;
      const draw = (): number => mean + 0.15 * generator.normal();
      return { name, shape: wide, data: Float32Array.from({ length: sizeOf(wide) }, draw) };
    }),
  );
}

/** How the wide llama is quantized: its matrices in 8 or 4 bits, or in 4 as those of a Q4_1 file. */
export type Kind = "8" | "4" | "4 (Q4_1)";

/** The wide llama quantized, and a float model of the weights that it computes with. */
export async function quantizedPair(
  folder: string,
  kind: Kind,
): Promise<{ readonly quantized: BaseModel; readonly floats: BaseModel }> {
  const [wide, same] = [join(folder, "wide"), join(folder, "same")];
  const access = { cacheFolder: join(folder, "cache"), offline: true };
  await writeWideLlama(wide);
  const quantized = await openQuantized(wide, kind, access);
  await cp(wide, same, { recursive: true });
  const paths = new Map(quantized.source.weights.map((w) => [w.name, w.path]));
  const values = new Map<string, Float32Array>();
  for (const [name, path] of paths) values.set(name, (await quantized.weights.read(path)).data);
  await editWeights(same, (tensors) =>
    tensors.map((t) => ({ ...t, data: values.get(t.name) as Float32Array })),
  );
  return { quantized, floats: await openBase(same, access) };
}

async function openQuantized(
  path: string,
  kind: Kind,
  access: { readonly cacheFolder: string; readonly offline: boolean },
): Promise<BaseModel> {
  const base = await openBase(path, { ...access, baseBits: kind === "8" ? 8 : 4 });
  if (kind !== "4 (Q4_1)") return base;
  const { modules } = base;
  const specs = modules.flatMap(moduleWeights);
  const source = await openModel(path);
  const storages = weightStorages(modules, specs, 4, () => "Q4_1");
  const weights = await openWeightFile(source, specs, access.cacheFolder, { storages });
  await source.close();
  const { frozen, decoding } = weightLookups(modules, weights);
  return { ...base, weights, frozen, decoding };
}

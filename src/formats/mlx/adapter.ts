import { rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { InputError, type Problem, UnsupportedError } from "../../errors.ts";
import { storing, writeFileAtomic } from "../../io/disk.ts";
import { temporaryPath } from "../../io/temporary.ts";
import { requireFinite } from "../../tensor/finite.ts";
import type { FloatTensor } from "../../tensor/tensor.ts";
import { transposed } from "../../tensor/transpose.ts";
import { namesOf } from "../architectures/table.ts";
import type { LoraFactors } from "../lora-factors.ts";
import { requireUntied, scaledB } from "../lora-folding.ts";
import type { ModelConfig } from "../model.ts";
import { hfModuleName, pathOfHfModule } from "../names.ts";
import { ADAPTER_CONFIG } from "../peft/files.ts";
import { readAdapterConfig } from "../peft/folder.ts";
import { openSafetensors } from "../safetensors/read.ts";
import { writeSafetensors } from "../safetensors/write.ts";

export const MLX_WEIGHTS = "adapters.safetensors";

/** An mlx-lm adapter, read. */
export interface MlxAdapter {
  readonly factors: readonly LoraFactors[];
  /** The model that it was trained on, as its configuration says. */
  readonly baseModel: string | null;
}

/** What mlx-lm needs to load an adapter; the other keys of its adapter_config.json say how it was trained. */
const FILE = z.object({
  fine_tune_type: z.string().default("lora"),
  model: z.string().nullish(),
  num_layers: z.int().optional(),
  /** Its name before mlx-lm 0.20. */
  lora_layers: z.int().optional(),
  lora_parameters: z.object({ scale: z.number(), rank: z.int().min(1).optional() }),
});

/** The configuration is mlx-lm's: PEFT's file has the same name, and a `peft_type`. */
export function isMlxConfig(config: Readonly<Record<string, unknown>>): boolean {
  return config.peft_type === undefined && config.lora_parameters !== undefined;
}

/** mlx-lm's name of a module: transformers', with `model.` in front of whatever is inside the base model. */
function mlxName(family: string, path: string): string {
  const name = hfModuleName(family, path);
  const { basePrefix } = namesOf(family);
  return name.startsWith(basePrefix) ? `model.${name.slice(basePrefix.length)}` : name;
}

function pathOf(family: string, module: string): string | null {
  return pathOfHfModule(family, module.replace(/^model\./, namesOf(family).basePrefix));
}

/** Reads an adapter that mlx-lm saved: adapters.safetensors and adapter_config.json (mlx_lm/tuner/utils.py, load_adapters).
 *  @throws NotFoundError, FormatError; UnsupportedError for DoRA and full fine-tuning; InputError with everything that is
 *  wrong in the configuration, or listing every tensor that fits nowhere in the model. */
export async function readMlxAdapter(folder: string, model: ModelConfig): Promise<MlxAdapter> {
  const where = join(folder, ADAPTER_CONFIG);
  const parsed = FILE.safeParse(await readAdapterConfig(folder));
  if (!parsed.success)
    throw new InputError(
      `${where} is not a valid mlx-lm configuration`,
      parsed.error.issues.map((i) => ({ where: i.path.join(".") || "(top)", message: i.message })),
    );
  const file = parsed.data;
  if (file.fine_tune_type !== "lora")
    throw new UnsupportedError(
      `${where}: fine_tune_type "${file.fine_tune_type}" cannot be read; supported: lora`,
    );
  const weights = join(folder, MLX_WEIGHTS);
  const tensors = await readTensors(weights);
  const count = file.num_layers ?? file.lora_layers ?? model.layerCount;
  // mlx-lm takes 0 and less for all layers.
  const firstLayer = count > 0 ? Math.max(0, model.layerCount - count) : 0;
  const factors = factorsOf(weights, tensors, model, file.lora_parameters.scale, firstLayer);
  return { factors, baseModel: file.model ?? null };
}

async function readTensors(path: string): Promise<Map<string, FloatTensor>> {
  const file = await openSafetensors(path);
  try {
    const tensors = new Map<string, FloatTensor>();
    for (const name of file.entries.keys())
      tensors.set(name, requireFinite(path, name, await file.read(name)));
    return tensors;
  } finally {
    await file.close();
  }
}

function factorsOf(
  where: string,
  tensors: ReadonlyMap<string, FloatTensor>,
  model: ModelConfig,
  scaling: number,
  firstLayer: number,
): LoraFactors[] {
  const problems: Problem[] = [];
  const factors: LoraFactors[] = [];
  for (const [key, tensor] of tensors) {
    const [, module, side] = /^(.+)\.lora_([ab])$/.exec(key) ?? [];
    const path = module === undefined ? null : pathOf(model.family, module);
    const layer = Number(/^layers\.(\d+)\./.exec(path ?? "")?.[1] ?? firstLayer);
    const other = tensors.get(`${module}.lora_${side === "a" ? "b" : "a"}`);
    const message =
      path === null
        ? `is not a LoRA factor of a ${model.family} model`
        : layer < firstLayer
          ? `is of layer ${layer}, which mlx-lm leaves alone: num_layers names the layers from ${firstLayer} on`
          : pairProblem(side, tensor, other);
    if (message !== null) problems.push({ where: key, message });
    else if (side === "a" && other && path !== null) {
      const kind = path === "embed" || path === "positions" ? "embedding" : "linear";
      factors.push({ path, kind, a: transposed(tensor), b: transposed(other), scaling });
    }
  }
  if (tensors.size === 0) problems.push({ where: "tensors", message: "there are none" });
  if (problems.length > 0) throw new InputError(`${where}: the adapter does not fit the model`, problems);
  return factors;
}

/** What is wrong with lora_a [in, r] and lora_b [r, out]; said once, of lora_a where it is there. */
function pairProblem(
  side: string | undefined,
  tensor: FloatTensor,
  other: FloatTensor | undefined,
): string | null {
  if (!other) return `has no lora_${side === "a" ? "b" : "a"} beside it`;
  if (side === "b") return null;
  const isPair = tensor.shape.length === 2 && other.shape.length === 2 && tensor.shape[1] === other.shape[0];
  return isPair
    ? null
    : `expected [in, rank] beside lora_b [rank, out], got [${tensor.shape}] and [${other.shape}]`;
}

/** Zero columns of A [in, r] and zero rows of B [r, out] up to a rank: mlx-lm has one rank for all modules. */
function padded(tensor: FloatTensor, rank: number, axis: 0 | 1): FloatTensor {
  const [rows, columns] = tensor.shape as [number, number];
  const shape: [number, number] = axis === 0 ? [rank, columns] : [rows, rank];
  const data = new Float32Array(shape[0] * shape[1]);
  for (let i = 0; i < rows; i++) data.set(tensor.data.subarray(i * columns, (i + 1) * columns), i * shape[1]);
  return { dtype: "float32", shape, data };
}

function keyOf(factors: LoraFactors, model: ModelConfig): string {
  return mlxName(model.family, factors.path).replace(/^model\.(layers|h)\.\d+\./, "");
}

/** Writes an adapter that mlx-lm loads. It has one rank and one scale for all: smaller ranks are filled up with zeros, other
 *  scales folded into B. Layers in front of the first adapted one are left out of `num_layers`.
 *  @throws UnsupportedError for LoRA on the embedding of a tied model; LowrankError ("storage") if the disk fails. */
export async function writeMlxAdapter(
  folder: string,
  factors: readonly LoraFactors[],
  model: ModelConfig,
  baseModel: string | null,
): Promise<void> {
  requireUntied(factors, model, "mlx-lm");
  const rank = Math.max(...factors.map((f) => f.b.shape[1] as number));
  const scale = factors.find((f) => f.scaling !== 0)?.scaling ?? 1;
  const inputs = factors.flatMap((f) => {
    const name = mlxName(model.family, f.path);
    const a = padded(transposed(f.a), rank, 1);
    const b = padded(transposed(scaledB(f.b, f.scaling / scale)), rank, 0);
    return [
      { name: `${name}.lora_a`, ...a },
      { name: `${name}.lora_b`, ...b },
    ];
  });
  const layers = factors.flatMap((f) => /^layers\.(\d+)\./.exec(f.path)?.[1] ?? []).map(Number);
  const config = {
    fine_tune_type: "lora",
    lora_parameters: {
      dropout: 0,
      keys: [...new Set(factors.map((f) => keyOf(f, model)))].sort(),
      rank,
      scale,
    },
    model: baseModel,
    num_layers: model.layerCount - Math.min(model.layerCount - 1, ...layers),
  };
  const [weights, configPath] = [join(folder, MLX_WEIGHTS), join(folder, ADAPTER_CONFIG)];
  const [newWeights, newConfig] = [temporaryPath(weights), temporaryPath(configPath)];
  await storing(folder, async () => {
    try {
      await writeSafetensors(newWeights, inputs, { metadata: { format: "mlx" } });
      await writeFileAtomic(newConfig, `${JSON.stringify(config, null, 4)}\n`);
      await rename(newWeights, weights);
      await rename(newConfig, configPath);
    } finally {
      for (const left of [newWeights, newConfig]) await rm(left, { force: true });
    }
  });
}

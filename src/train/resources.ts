import { labelsBytes } from "../formats/peft/files.ts";
import { safetensorsBytes } from "../formats/safetensors/encode.ts";
import { moduleWeights } from "../models/family.ts";
import { adapterBytes } from "../peft/files/parts.ts";
import type { Method } from "../peft/method.ts";
import { baseIdentityOf, type ModelShape } from "../peft/model-shape.ts";
import { parameterCount, trainedCount } from "../peft/parameters.ts";
import { sizeOf } from "../tensor/tensor.ts";
import type { MeasuredResources, ResourcePlan } from "./events.ts";

/** Bytes of the file with parameters and the optimizer's vectors, of `size` each. */
export function optimizerFileBytes(size: number, vectors: readonly string[]): number {
  return safetensorsBytes(["theta", ...vectors].map((name) => ({ name, shape: [size] })));
}

/** The part of a plan's resources that follows from model and methods alone. */
export type StateResources = Omit<ResourcePlan, "workingBytes" | "memoryBytes">;

/** Bytes that methods on a model take, and write. `baseModel`: its name in the adapter's files; `vectors`: what the optimizer keeps. `quantizedBytes`: of a
 *  base that is kept in fewer bits than floats. */
export function stateResources(
  shape: Pick<ModelShape, "config" | "modules" | "source" | "weights">,
  methods: readonly Method[],
  baseModel: string | null,
  vectors: readonly string[],
  quantizedBytes: number | null = null,
): StateResources {
  const { config, modules } = shape;
  const trainables = methods.flatMap((m) => m.trainables);
  const own = new Set(trainables.map((t) => t.name));
  const frozen = modules.flatMap(moduleWeights).filter((w) => !own.has(w.path));
  const [size, trained] = [parameterCount(trainables), trainedCount(trainables)];
  const labels = config.encoder ? labelsBytes(config.encoder.classifier) : 0;
  const adapter = adapterBytes(methods, baseModel, baseIdentityOf(shape)) + labels;
  const floats = 4 * frozen.reduce((n, w) => n + sizeOf(w.shape), 0);
  return {
    // What is kept with the parameters and not trained (VeRA's projections) is frozen as well.
    frozenBytes: (quantizedBytes ?? floats) + 4 * (size - trained),
    trainableBytes: 4 * trained,
    gradientBytes: 4 * size,
    optimizerBytes: 4 * vectors.length * size,
    adapterBytes: adapter,
    checkpointBytes: adapter + optimizerFileBytes(size, vectors),
  };
}

/** A line of the account of a run. */
export interface ResourceRow {
  readonly what: string;
  readonly plannedBytes: number;
  /** null where nothing measures it by itself. */
  readonly measuredBytes: number | null;
}

/** The account of a run, for people: the parts of its memory, their sum, and its files. */
export function resourceRows(plan: ResourcePlan, measured: MeasuredResources | null): readonly ResourceRow[] {
  const row = (what: string, plannedBytes: number, measuredBytes: number | null = null): ResourceRow => {
    return { what, plannedBytes, measuredBytes };
  };
  return [
    row("Frozen weights", plan.frozenBytes),
    row("Trained weights", plan.trainableBytes),
    row("Gradient", plan.gradientBytes),
    row("Optimizer state", plan.optimizerBytes),
    row("Activations and workspace (estimate)", plan.workingBytes),
    row("Peak memory (estimate)", plan.memoryBytes, measured?.peakMemoryBytes ?? null),
    row("Adapter on disk", plan.adapterBytes, measured?.adapterBytes ?? null),
    row("Checkpoint on disk", plan.checkpointBytes, measured?.checkpointBytes ?? null),
  ];
}

import { LowrankError, type Problem } from "../../errors.ts";
import type { GgufTensorType } from "../../formats/gguf/quantize.ts";
import { beyondRounding } from "../../formats/gguf/rounding.ts";
import type { ModelSource, WeightEntry } from "../../formats/model.ts";
import { ggufOffset } from "../../formats/names.ts";
import { openModel } from "../../formats/open-model.ts";
import type { HashOf } from "../../io/fingerprint-of.ts";
import type { BaseModel } from "../../models/base.ts";
import { weightLookups } from "../../models/base-context.ts";
import { openBase } from "../../models/base-model.ts";
import { moduleWeights, type WeightSpec } from "../../models/family.ts";
import { openWeightFile } from "../../models/weight-file.ts";
import type { WeightFile } from "../../models/weight-layout.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { type FloatTensor, floats, sizeOf } from "../../tensor/tensor.ts";
import type { Adaptation } from "../use/active.ts";
import { compareLogits, type LogitComparison } from "./check.ts";
import type { MergedWeights } from "./weights.ts";

/** What a written model is compared with. */
export interface Unmerged {
  readonly base: BaseModel;
  readonly adapter: Adaptation | null;
  readonly merged: MergedWeights;
  readonly runtime: Runtime;
}

/** Largest logit difference that float32 explains, as a share of the largest logit: the same sums in another order. Seen on
 *  SmolLM2 with a trained adapter 1.4e-6, on tiny random models up to 2.3e-6; without its adapter SmolLM2 is off by 0.3. */
const TOLERANCE = 1e-4;
const SHOWN = 10;

/** Opens a written model as anyone would and compares it with base and adapter apart. `isExact`: its weights are float32, so
 *  that its logits are theirs. Rounded weights change logits by more than a lost adapter may, so there each link is compared
 *  by itself: the logits of the merged weights in float32 with those of base and adapter; every written weight with the
 *  merged one, which it may miss by its type's rounding only; and the logits of the written weights under the base's
 *  configuration with those under their own. `cacheFolder`: for float32 copies, twice the model's size.
 *  Returns how far the written model's logits are from those of base and adapter: what the rounding costs.
 *  @throws LowrankError ("merge") saying which link fails; as `openBase` */
export async function verifyMerged(
  original: Unmerged,
  output: string,
  isExact: boolean,
  access: { readonly cacheFolder: string; readonly signal?: AbortSignal },
): Promise<LogitComparison> {
  const { base, adapter, runtime } = original;
  const written = await openBase(output, { ...access, offline: true });
  const apart = await compareLogits(base, adapter, written, runtime);
  if (isExact) return within(apart, "the merged model's", "base and adapter apart");
  const { modules, weights, frozen, decoding } = written;
  const copy = await floatCopy(original, written, access);
  const inFloats = { ...base, modules, weights: copy, ...weightLookups(modules, copy) };
  within(
    await compareLogits(base, adapter, inFloats, runtime),
    "the merged weights'",
    "base and adapter apart",
  );
  const asTheBase = { ...base, modules, weights, frozen, decoding };
  within(
    await compareLogits(asTheBase, null, written, runtime),
    "the merged model's",
    "its weights under the base's configuration",
  );
  return apart;
}

function within(comparison: LogitComparison, whose: string, other: string): LogitComparison {
  const { maxDifference, maxLogit } = comparison;
  if (maxDifference <= TOLERANCE * Math.max(1, maxLogit)) return comparison;
  throw new LowrankError(
    "merge",
    `${whose} logits differ by ${maxDifference} from those of ${other}, ` +
      `expected at most ${TOLERANCE} of the largest (${maxLogit.toFixed(2)})`,
  );
}

/** The merged weights as one float32 file, each compared with the written one on the way. @throws LowrankError ("merge") */
async function floatCopy(
  { base, merged }: Unmerged,
  written: BaseModel,
  { cacheFolder, signal }: { readonly cacheFolder: string; readonly signal?: AbortSignal },
): Promise<WeightFile> {
  const source = await openModel(written.source.path);
  const problems: Problem[] = [];
  try {
    const specs = written.modules.flatMap(moduleWeights);
    const stored = new Map(source.weights.map((w) => [w.path, w]));
    const lost = merged.paths.filter((path) => !stored.has(path));
    problems.push(
      ...lost.map((where) => ({ where, message: "is changed by the adapter, and is not there" })),
    );
    const weights = specs.map((spec): WeightEntry => {
      const entry = stored.get(spec.path) as WeightEntry;
      const read = async (): Promise<FloatTensor> => {
        const tensor = await mergedWeight(spec, base, merged);
        const problem = await roundingProblem(entry, tensor, source);
        if (problem !== null) problems.push({ where: entry.name, message: problem });
        return tensor;
      };
      return { ...entry, storage: "F32", sizeBytes: 4 * sizeOf(spec.shape), read };
    });
    const fingerprint = async (hashOf?: HashOf): Promise<string> =>
      `${await source.fingerprint(hashOf)} merged, float32`;
    const copied: ModelSource = { ...source, fingerprint, weights };
    const file = await openWeightFile(copied, specs, cacheFolder, { signal });
    if (problems.length === 0) return file;
  } finally {
    await source.close();
  }
  const shown = problems.slice(0, SHOWN).map((p) => `  ${p.where}: ${p.message}`);
  const more = problems.length > SHOWN ? [`  … and ${problems.length - SHOWN} more`] : [];
  throw new LowrankError(
    "merge",
    ["the written weights are not those of base and adapter:", ...shown, ...more].join("\n"),
  );
}

/** A weight as merging makes it; a bias that neither base nor adapter has was added as zeros. */
async function mergedWeight(spec: WeightSpec, base: BaseModel, merged: MergedWeights): Promise<FloatTensor> {
  if (merged.paths.includes(spec.path)) return merged.read(spec.path);
  const isOfBase = base.modules.flatMap(moduleWeights).some((w) => w.path === spec.path);
  return isOfBase
    ? base.weights.read(spec.path)
    : floats(new Float32Array(sizeOf(spec.shape)), [...spec.shape]);
}

/** What is wrong with a stored weight beside the float32 one that it stands for; null for nothing. */
async function roundingProblem(
  entry: WeightEntry,
  expected: FloatTensor,
  { kind, config }: ModelSource,
): Promise<string | null> {
  const offset = kind === "gguf" ? ggufOffset(config.family, entry.path) : 0;
  const { data } = await entry.read();
  const found = beyondRounding(entry.storage as GgufTensorType, expected.data, data, offset);
  if (found === null) return null;
  return (
    `element ${found.index} is ${found.got}, expected ${found.expected} ` +
    `within ${found.allowed.toPrecision(2)}, the rounding of ${entry.storage}`
  );
}

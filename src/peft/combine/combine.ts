import { InputError, type Problem } from "../../errors.ts";
import type { AdapterContent } from "../../formats/peft/adapter.ts";
import type { LoraConfig } from "../../formats/peft/config.ts";
import type { ModuleTensors } from "../../formats/peft/keys.ts";
import { scalingOf } from "../../formats/peft/targets.ts";
import { matrix, svdOfProduct } from "../../tensor/linear-algebra.ts";
import { type FloatTensor, floats } from "../../tensor/tensor.ts";
import {
  disjointMerge,
  type MajoritySign,
  prunedAtRandom,
  prunedByMagnitude,
  pruningStream,
  weightedSum,
} from "./math.ts";

/** Ways to make one LoRA adapter of several; PEFT's `add_weighted_adapter` has the same. */
export type CombinationKind =
  | "linear"
  | "cat"
  | "svd"
  | "ties"
  | "dare-linear"
  | "dare-ties"
  | "magnitude-prune";

/** Every combination, for help and errors. */
export const COMBINATIONS: readonly CombinationKind[] = [
  "linear",
  "cat",
  "svd",
  "ties",
  "dare-linear",
  "dare-ties",
  "magnitude-prune",
];

/** An adapter and its factor; negative factors subtract. */
export interface WeightedAdapter {
  readonly adapter: AdapterContent;
  readonly weight: number;
}

/** How to combine. */
export interface CombineOptions {
  readonly kind: CombinationKind;
  /** Share of values kept, for ties, dare and magnitude-prune. */
  readonly density?: number;
  /** Default "total". */
  readonly majoritySign?: MajoritySign;
  /** Rank of the result, for svd; default: the largest. */
  readonly rank?: number;
  /** Of dare's random pruning; default 0. */
  readonly seed?: number;
}

interface Factors {
  /** [rank, in] */
  readonly a: FloatTensor;
  /** [out, rank] */
  readonly b: FloatTensor;
  readonly scaling: number;
  readonly weight: number;
  /** Place in the list of adapters. */
  readonly index: number;
}

const NEEDS_DENSITY: ReadonlySet<CombinationKind> = new Set([
  "ties",
  "dare-linear",
  "dare-ties",
  "magnitude-prune",
]);
const NEEDS_EQUAL_RANKS: ReadonlySet<CombinationKind> = new Set(["linear", ...NEEDS_DENSITY]);

/** One LoRA adapter that stands for several with factors. `cat` and `svd` (at full rank) are exact sums of the updates; the
 *  others work on A and B apart, as PEFT does: cheap, and only roughly the sum. Modules that only some adapters have are
 *  combined of those.
 *  @throws InputError listing everything that does not fit: kinds, density, ranks, shapes, biases and whole modules */
export function combineAdapters(parts: readonly WeightedAdapter[], options: CombineOptions): AdapterContent {
  const kind = parts.length === 1 ? "linear" : options.kind;
  check(parts, { ...options, kind });
  const ranks = parts.map(({ adapter }) => largestRank(adapter.config));
  const rank = kind === "cat" ? ranks.reduce((a, b) => a + b, 0) : (options.rank ?? Math.max(...ranks));
  const names = [...new Set(parts.flatMap((p) => [...p.adapter.tensors.keys()]))];
  const tensors = new Map(
    names.flatMap((name): [string, ModuleTensors][] => {
      const slots = slotsOf(parts, name);
      const factors = factorsOf(parts, name, slots);
      if (factors.length === 0) return [];
      const combined = combineModule(name, factors, { ...options, kind }, rank);
      return [[name, { [slots[0]]: combined.a, [slots[1]]: combined.b }]];
    }),
  );
  const [first] = parts as [WeightedAdapter, ...WeightedAdapter[]];
  const config: LoraConfig = {
    ...first.adapter.config,
    rank,
    alpha: rank,
    rsLora: false,
    rankPattern: {},
    alphaPattern: {},
    targetModules: [...tensors.keys()],
    excludeModules: null,
    layersToTransform: null,
    layersPattern: null,
  };
  return { config, tensors };
}

function largestRank(config: LoraConfig): number {
  return Math.max(config.rank, ...Object.values(config.rankPattern));
}

function check(parts: readonly WeightedAdapter[], options: CombineOptions): void {
  const problems: Problem[] = [];
  const wrong = (where: string, message: string): void => {
    problems.push({ where, message });
  };
  const { kind, density, rank } = options;
  if (parts.length === 0) wrong("adapters", "expected at least one, got none");
  if (!COMBINATIONS.includes(kind)) wrong("kind", `expected one of ${COMBINATIONS.join(", ")}, got ${kind}`);
  if (NEEDS_DENSITY.has(kind) && !(density !== undefined && density > 0 && density <= 1))
    wrong("density", `expected a share in (0, 1] for ${kind}, got ${density ?? "none"}`);
  if (rank !== undefined && (kind !== "svd" || !Number.isInteger(rank) || rank < 1))
    wrong("rank", `expected a whole number from 1, for svd only, got ${rank} for ${kind}`);
  parts.forEach(({ adapter, weight }, i) => {
    if (!Number.isFinite(weight)) wrong(`adapter ${i + 1}`, `expected a finite factor, got ${weight}`);
    if (adapter.config.dora)
      wrong(`adapter ${i + 1}`, "is DoRA: its magnitudes do not add up; merge it into a base instead");
    const extra = [...adapter.tensors].filter(([, t]) => t.bias || t.savedWeight || t.savedBias);
    for (const [name] of extra)
      wrong(`adapter ${i + 1}`, `${name} is trained whole: only low-rank factors can be combined`);
    if (adapter.config.loraBias)
      wrong(
        `adapter ${i + 1}`,
        "has lora_bias, for which a combination has no place; merge it into a base instead",
      );
  });
  const ranks = parts.map(({ adapter }) => largestRank(adapter.config));
  if (NEEDS_EQUAL_RANKS.has(kind) && new Set(ranks).size > 1)
    wrong("adapters", `${kind} needs equal ranks, got ${ranks.join(", ")}; cat and svd do not`);
  for (const [name, shapes] of updateShapes(parts))
    if (shapes.size > 1)
      wrong(name, `expected updates of one shape [out,in], got ${[...shapes].join(" and ")}`);
  if (problems.length > 0) throw new InputError("the adapters cannot be combined", problems);
}

/** Shapes of the updates by module, each as a text. */
function updateShapes(parts: readonly WeightedAdapter[]): Map<string, Set<string>> {
  const shapes = new Map<string, Set<string>>();
  for (const { adapter } of parts)
    for (const [name, slots] of adapter.tensors) {
      const [a, b] = [slots.loraA ?? slots.loraEmbeddingA, slots.loraB ?? slots.loraEmbeddingB];
      if (a && b) shapes.set(name, (shapes.get(name) ?? new Set()).add(`[${b.shape[0]},${a.shape[1]}]`));
    }
  return shapes;
}

type FactorSlots = readonly ["loraA", "loraB"] | readonly ["loraEmbeddingA", "loraEmbeddingB"];

function slotsOf(parts: readonly WeightedAdapter[], name: string): FactorSlots {
  const isEmbedding = parts.some(({ adapter }) => adapter.tensors.get(name)?.loraEmbeddingA);
  return isEmbedding ? ["loraEmbeddingA", "loraEmbeddingB"] : ["loraA", "loraB"];
}

function factorsOf(parts: readonly WeightedAdapter[], name: string, [slotA, slotB]: FactorSlots): Factors[] {
  return parts.flatMap(({ adapter, weight }, index) => {
    const slots = adapter.tensors.get(name);
    const [a, b] = [slots?.[slotA], slots?.[slotB]];
    return a && b ? [{ a, b, scaling: scalingOf(adapter.config, name), weight, index }] : [];
  });
}

function combineModule(
  name: string,
  factors: readonly Factors[],
  options: CombineOptions,
  rank: number,
): { readonly a: FloatTensor; readonly b: FloatTensor } {
  const joined = (): { a: FloatTensor; b: FloatTensor } => concatenated(factors, rank);
  switch (options.kind) {
    case "cat":
      return joined();
    case "svd":
      return truncated(factors, rank);
    default:
      return elementwise(name, factors, options, rank);
  }
}

/** A's below each other, scaled, and B's side by side; unused rank is zero. */
function concatenated(factors: readonly Factors[], rank: number): { a: FloatTensor; b: FloatTensor } {
  const [inSize, outSize] = sizes(factors);
  const a = new Float32Array(rank * inSize);
  const b = new Float32Array(outSize * rank);
  let used = 0;
  for (const f of factors) {
    const own = f.a.shape[0] as number;
    a.set(
      f.a.data.map((x) => x * f.weight * f.scaling),
      used * inSize,
    );
    for (let i = 0; i < outSize; i++) b.set(f.b.data.subarray(i * own, (i + 1) * own), i * rank + used);
    used += own;
  }
  return { a: floats(a, [rank, inSize]), b: floats(b, [outSize, rank]) };
}

/** Best approximation of rank `rank` to Σ w·s·B·A (Eckart-Young): B = U·S, A = Vᵀ, as PEFT splits it. */
function truncated(factors: readonly Factors[], rank: number): { a: FloatTensor; b: FloatTensor } {
  const [inSize, outSize] = sizes(factors);
  const total = factors.reduce((n, f) => n + (f.a.shape[0] as number), 0);
  const { a, b } = concatenated(factors, total);
  const { u, s, v } = svdOfProduct(matrix(outSize, total, b.data), matrix(total, inSize, a.data));
  const [newA, newB] = [new Float32Array(rank * inSize), new Float32Array(outSize * rank)];
  for (let k = 0; k < Math.min(rank, s.length); k++) {
    for (let i = 0; i < outSize; i++)
      newB[i * rank + k] = (u.data[i * u.columns + k] as number) * (s[k] as number);
    for (let j = 0; j < inSize; j++) newA[k * inSize + j] = v.data[j * v.columns + k] as number;
  }
  return { a: floats(newA, [rank, inSize]), b: floats(newB, [outSize, rank]) };
}

function elementwise(
  name: string,
  factors: readonly Factors[],
  options: CombineOptions,
  rank: number,
): { a: FloatTensor; b: FloatTensor } {
  const [inSize, outSize] = sizes(factors);
  const strengths = factors.map((f) => f.weight * f.scaling);
  // √|w·s| on each side, the sign on A's alone: the product then has the factor w·s.
  const roots = strengths.map((x) => Math.sqrt(Math.abs(x)));
  const signed = roots.map((x, i) => ((strengths[i] as number) >= 0 ? x : -x));
  const mix = (slot: "a" | "b", weights: readonly number[]): Float32Array =>
    mixed(
      factors.map((f) => padded(f[slot], slot, rank)),
      weights,
      options,
      (i) => pruningStream(options.seed ?? 0, name, slot, (factors[i] as Factors).index),
    );
  return { a: floats(mix("a", signed), [rank, inSize]), b: floats(mix("b", roots), [outSize, rank]) };
}

/** Factors of a lower rank (by a pattern) filled up with zeros. */
function padded(tensor: FloatTensor, slot: "a" | "b", rank: number): Float32Array {
  const [rows, columns] = tensor.shape as [number, number];
  if (slot === "a") {
    const data = new Float32Array(rank * columns);
    data.set(tensor.data);
    return data;
  }
  const data = new Float32Array(rows * rank);
  for (let i = 0; i < rows; i++) data.set(tensor.data.subarray(i * columns, (i + 1) * columns), i * rank);
  return data;
}

function mixed(
  xs: readonly Float32Array[],
  weights: readonly number[],
  { kind, density = 1, majoritySign = "total" }: CombineOptions,
  stream: (i: number) => ReturnType<typeof pruningStream>,
): Float32Array {
  const byMagnitude = (): Float32Array[] => xs.map((x) => prunedByMagnitude(x, density));
  const atRandom = (): Float32Array[] => xs.map((x, i) => prunedAtRandom(x, density, stream(i)));
  switch (kind) {
    case "ties":
      return disjointMerge(byMagnitude(), weights, majoritySign);
    case "dare-ties":
      return disjointMerge(atRandom(), weights, majoritySign);
    case "dare-linear":
      return weightedSum(atRandom(), weights);
    case "magnitude-prune":
      return weightedSum(byMagnitude(), weights);
    default:
      return weightedSum(xs, weights);
  }
}

function sizes(factors: readonly Factors[]): [inSize: number, outSize: number] {
  const [first] = factors as readonly [Factors, ...Factors[]];
  return [first.a.shape[1] as number, first.b.shape[0] as number];
}

import { InputError, type Problem, UnsupportedError } from "../../errors.ts";
import { usualOf } from "../../formats/lora-factors.ts";
import type { AdapterContent } from "../../formats/peft/adapter.ts";
import type { ModuleTensors } from "../../formats/peft/keys.ts";
import { rankOf, scalingOf } from "../../formats/peft/targets.ts";
import { matrix, type Svd, svdOfProduct } from "../../tensor/linear-algebra.ts";
import { type FloatTensor, floats } from "../../tensor/tensor.ts";

/** How small an adapter is to become: one of the two. */
export interface ShrinkOptions {
  /** Rank of every module that has a larger one. */
  readonly rank?: number;
  /** Share of ‖ΔW‖²_F that each module keeps, in (0, 1]: by the smallest rank that does. */
  readonly keep?: number;
}

/** What became of a module. */
export interface ShrunkModule {
  /** Its Hugging Face name. */
  readonly name: string;
  readonly before: number;
  readonly rank: number;
  /** ‖ΔW‖_F before. */
  readonly deltaNorm: number;
  /** ‖ΔW − ΔW'‖_F / ‖ΔW‖_F: √(Σ of the squares of the singular values left out / Σ of all), which no other ΔW' of that rank goes below
   *  (Eckart & Young 1936). The factors are rounded to float32 after that, below 1e-6. */
  readonly relativeError: number;
}

/** A smaller adapter, and what it costs. */
export interface ShrunkAdapter {
  readonly content: AdapterContent;
  /** Every module with factors. */
  readonly modules: readonly ShrunkModule[];
  /** √(Σ‖ΔW − ΔW'‖² / Σ‖ΔW‖²) over all of them. */
  readonly relativeError: number;
}

/** The same LoRA adapter in fewer ranks: of every ΔW = s·B·A the best approximation of its rank, by SVD of B·A from the factors. The
 *  scalings stay as they are, so what is trained beside the factors (biases, whole modules) means the same.
 *  @throws InputError if not one of rank and share is given, or nothing becomes smaller; UnsupportedError for DoRA */
export function shrinkAdapter(content: AdapterContent, options: ShrinkOptions): ShrunkAdapter {
  check(content, options);
  const shrunk = [...content.tensors].map(([name, slots]) => shrinkModule(name, slots, content, options));
  const modules = shrunk.flatMap((m) => m.module ?? []);
  if (modules.every((m) => m.rank === m.before)) throw nothingToDo(modules, options);
  const lost = modules.reduce((sum, m) => sum + (m.relativeError * m.deltaNorm) ** 2, 0);
  const whole = modules.reduce((sum, m) => sum + m.deltaNorm ** 2, 0);
  return {
    content: {
      config: { ...content.config, ...ranksOf(content, modules) },
      tensors: new Map(shrunk.map((m) => [m.name, m.slots])),
    },
    modules,
    relativeError: whole === 0 ? 0 : Math.sqrt(lost / whole),
  };
}

const TITLE = "the adapter cannot be shrunk";

function check({ config }: AdapterContent, { rank, keep }: ShrinkOptions): void {
  if (config.dora)
    throw new UnsupportedError(
      "a DoRA adapter cannot be shrunk: its ΔW is not B·A alone, because magnitudes of W + B·A scale it",
    );
  const problems: Problem[] = [];
  if ((rank === undefined) === (keep === undefined))
    problems.push({ where: "rank, keep", message: "expected one of the two" });
  if (rank !== undefined && !(Number.isInteger(rank) && rank >= 1))
    problems.push({ where: "rank", message: `expected a whole number from 1, got ${rank}` });
  if (keep !== undefined && !(keep > 0 && keep <= 1))
    problems.push({ where: "keep", message: `expected a share in (0, 1], got ${keep}` });
  if (problems.length > 0) throw new InputError(TITLE, problems);
}

function nothingToDo(modules: readonly ShrunkModule[], { rank, keep }: ShrinkOptions): InputError {
  const largest = Math.max(0, ...modules.map((m) => m.before));
  const message =
    keep === undefined
      ? `expected less than the adapter's rank, ${largest}, got ${rank}`
      : `no module keeps ${keep} of its ‖ΔW‖² with fewer ranks than it has`;
  return new InputError(TITLE, [{ where: keep === undefined ? "rank" : "keep", message }]);
}

/** Rank and alpha of the result; alpha is what leaves each scaling as it was. */
function ranksOf(
  { config }: AdapterContent,
  modules: readonly ShrunkModule[],
): Pick<AdapterContent["config"], "rank" | "alpha" | "rankPattern" | "alphaPattern" | "rsLora"> {
  const rank = usualOf(modules.map((m) => [m.name, m.rank]));
  const alpha = usualOf(modules.map((m) => [m.name, scalingOf(config, m.name) * m.rank]));
  return {
    ...{ rank: rank.usual, rankPattern: rank.pattern },
    ...{ alpha: alpha.usual, alphaPattern: alpha.pattern },
    rsLora: false,
  };
}

interface Shrunk {
  readonly name: string;
  readonly slots: ModuleTensors;
  /** null for a module without factors. */
  readonly module: ShrunkModule | null;
}

function shrinkModule(
  name: string,
  slots: ModuleTensors,
  { config }: AdapterContent,
  options: ShrinkOptions,
): Shrunk {
  const [a, b] = [slots.loraA ?? slots.loraEmbeddingA, slots.loraB ?? slots.loraEmbeddingB];
  if (!a || !b) return { name, slots, module: null };
  const before = rankOf(config, name);
  const [outSize, inSize] = [b.shape[0] as number, a.shape[1] as number];
  const parts = svdOfProduct(matrix(outSize, before, b.data), matrix(before, inSize, a.data));
  const rank = Math.min(before, options.rank ?? rankFor(options.keep as number, parts.s));
  const [lost, whole] = [norm(parts.s.subarray(rank)), norm(parts.s)];
  const deltaNorm = whole * Math.abs(scalingOf(config, name));
  const isKept = rank === before;
  const relativeError = isKept || whole === 0 ? 0 : lost / whole;
  const module = { name, before, rank, deltaNorm, relativeError };
  return { name, slots: isKept ? slots : { ...slots, ...split(parts, rank, slots) }, module };
}

function norm(values: Float64Array): number {
  return Math.sqrt(values.reduce((sum, x) => sum + x * x, 0));
}

/** The smallest rank, from 1, that keeps a share of Σs². */
function rankFor(keep: number, s: Float64Array): number {
  const whole = norm(s) ** 2;
  for (let rank = 1; rank < s.length; rank++)
    if (norm(s.subarray(rank)) ** 2 <= (1 - keep) * whole) return rank;
  return s.length;
}

/** B = U·√S and A = √S·Vᵀ of the leading triplets. */
function split({ u, s, v }: Svd, rank: number, slots: ModuleTensors): ModuleTensors {
  const side = (m: Svd["u"], turned: boolean): FloatTensor => {
    const data = new Float32Array(rank * m.rows);
    for (let k = 0; k < Math.min(rank, s.length); k++) {
      const root = Math.sqrt(s[k] as number);
      for (let i = 0; i < m.rows; i++)
        data[turned ? k * m.rows + i : i * rank + k] = root * (m.data[i * m.columns + k] as number);
    }
    return floats(data, turned ? [rank, m.rows] : [m.rows, rank]);
  };
  const [a, b] = [side(v, true), side(u, false)];
  return slots.loraA ? { loraA: a, loraB: b } : { loraEmbeddingA: a, loraEmbeddingB: b };
}

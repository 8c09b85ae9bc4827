import { InputError, type Problem, RuntimeError } from "../errors.ts";
import { type Random, random } from "../tensor/random.ts";
import { topIndex } from "../tensor/top-index.ts";

/** How the next token is chosen. */
export interface SamplingOptions {
  /** Divides the logits; 0 takes the most likely token (the lowest id on ties). Default 1. */
  readonly temperature?: number;
  /** Keep the k most likely tokens and those tied with the last of them; 0 keeps all. Default 0. */
  readonly topK?: number;
  /** Keep the most likely tokens that together reach this probability. Default 1: all. */
  readonly topP?: number;
  /** Drop tokens less likely than this share of the most likely one. Default 0: none. */
  readonly minP?: number;
  /** Above 1: tokens of the history become less likely (their logit is divided if positive, else multiplied).
   *  Default 1. */
  readonly repetitionPenalty?: number;
  /** Default 0. */
  readonly seed?: number;
}

/** Tokens that may be drawn, ids ascending, and their probabilities (sum 1). */
export interface Candidates {
  readonly ids: Int32Array;
  readonly probabilities: Float64Array;
}

/** Chooses tokens, one after the other; deterministic for a seed. */
export interface Sampler {
  /** Id chosen by logits [vocab], which stay as they are. `history`: the ids so far, prompt included.
   *  @throws RuntimeError if a logit is NaN or +Infinity. */
  next(logits: Float32Array, history: readonly number[] | Int32Array): number;
}

const DEFAULTS: Required<SamplingOptions> = {
  temperature: 1,
  topK: 0,
  topP: 1,
  minP: 0,
  repetitionPenalty: 1,
  seed: 0,
};

/** Sampler with its own stream of random numbers.
 *  @throws InputError naming every option out of range. */
export function createSampler(options: SamplingOptions = {}): Sampler {
  const settings = { ...DEFAULTS, ...options };
  validate(settings);
  const generator = random(settings.seed, "sampling");
  return {
    next(logits, history) {
      if (settings.temperature === 0) return argmax(penalized(logits, history, settings.repetitionPenalty));
      return draw(candidatesOf(logits, history, settings), generator);
    },
  };
}

/** The distribution that a token is drawn from: repetition penalty, temperature, top-k, top-p, min-p, in the order
 *  of transformers. `options.temperature` must not be 0.
 *  @throws InputError as `createSampler`, RuntimeError if a logit is NaN or +Infinity. */
export function candidates(
  logits: Float32Array,
  history: readonly number[] | Int32Array,
  options: SamplingOptions = {},
): Candidates {
  const settings = { ...DEFAULTS, ...options };
  validate(settings);
  return candidatesOf(logits, history, settings);
}

function validate(o: Required<SamplingOptions>): void {
  const problems: Problem[] = [];
  const check = (where: keyof SamplingOptions, isValid: boolean, expected: string): void => {
    if (!isValid) problems.push({ where, message: `expected ${expected}, got ${o[where]}` });
  };
  check("temperature", o.temperature >= 0 && o.temperature < Infinity, "a number, 0 or more");
  check("topK", Number.isInteger(o.topK) && o.topK >= 0, "a whole number, 0 (all tokens) or more");
  check("topP", o.topP > 0 && o.topP <= 1, "a number above 0, up to 1");
  check("minP", o.minP >= 0 && o.minP <= 1, "a number from 0 to 1");
  check(
    "repetitionPenalty",
    o.repetitionPenalty > 0 && o.repetitionPenalty < Infinity,
    "a number above 0 (1: no penalty)",
  );
  check("seed", Number.isSafeInteger(o.seed) && o.seed >= 0, "a whole number, 0 or more");
  if (problems.length > 0) throw new InputError("Sampling options are out of range:", problems);
}

function penalized(
  logits: Float32Array,
  history: readonly number[] | Int32Array,
  penalty: number,
): Float32Array {
  if (penalty === 1) return logits;
  const scores = logits.slice();
  for (const id of new Set(history)) {
    const score = scores[id];
    if (score !== undefined) scores[id] = score < 0 ? score * penalty : score / penalty;
  }
  return scores;
}

/** @throws RuntimeError if a score is NaN or +Infinity, or none is finite. */
function argmax(scores: Float32Array): number {
  const broken = scores.findIndex((score) => !(score < Infinity));
  if (broken >= 0)
    throw new RuntimeError(`logit of token ${broken} is ${scores[broken]}: the model's output is broken`);
  const best = topIndex(scores);
  if (scores.length === 0 || scores[best] === -Infinity)
    throw new RuntimeError("no token has a finite logit: the model's output is broken");
  return best;
}

function candidatesOf(
  logits: Float32Array,
  history: readonly number[] | Int32Array,
  { temperature, topK, topP, minP, repetitionPenalty }: Required<SamplingOptions>,
): Candidates {
  const scores = penalized(logits, history, repetitionPenalty);
  const max = scores[argmax(scores)] as number;
  const floor = topK > 0 && topK < scores.length ? kthLargest(scores, topK) : -Infinity;
  const weights = new Float64Array(scores.length);
  let total = 0;
  for (let i = 0; i < scores.length; i++) {
    const score = scores[i] as number;
    if (score >= floor) total += weights[i] = Math.exp((score - max) / temperature);
  }
  // The most likely token has weight 1, so minP is a bound on the weight itself.
  const cut = topP < 1 ? nucleusCut(weights, topP * total) : null;
  const ids = new Int32Array(weights.length);
  let count = 0;
  let mass = 0;
  for (let i = 0; i < weights.length; i++) {
    const weight = weights[i] as number;
    if (weight <= 0 || weight < minP || (cut !== null && isLess(weight, i, cut))) continue;
    ids[count] = i;
    weights[count++] = weight;
    mass += weight;
  }
  return { ids: ids.subarray(0, count), probabilities: weights.subarray(0, count).map((w) => w / mass) };
}

/** The least likely token of a nucleus. */
interface Cut {
  readonly id: number;
  readonly weight: number;
}

/** Less likely than the cut; of equally likely tokens the higher id is. */
function isLess(weight: number, id: number, cut: Cut): boolean {
  return weight < cut.weight || (weight === cut.weight && id > cut.id);
}

const SORTED_AT_ONCE = 64;

/** Last token, from the most likely on, with which the weights reach `mass`. Found by splitting around a pivot and going
 *  on with the side that holds it (quickselect by weight), in linear time on average. */
function nucleusCut(weights: Float64Array, mass: number): Cut {
  const weightOf = (id: number): number => weights[id] as number;
  const [above, below] = [new Int32Array(weights.length), new Int32Array(weights.length)];
  let live = 0;
  for (let id = 0; id < weights.length; id++) if (weightOf(id) > 0) above[live++] = id;
  let pool = above.slice(0, live);
  let reached = 0;
  while (pool.length > SORTED_AT_ONCE) {
    const pivot = weightOf(pool[pool.length >> 1] as number);
    let [aboveCount, belowCount, sum] = [0, 0, 0];
    for (const id of pool) {
      const weight = weightOf(id);
      if (weight < pivot) below[belowCount++] = id;
      else if (weight > pivot) {
        above[aboveCount++] = id;
        sum += weight;
      }
    }
    if (aboveCount > 0 && reached + sum >= mass) pool = above.slice(0, aboveCount);
    else {
      reached += sum;
      const needed = Math.max(1, Math.ceil((mass - reached) / pivot));
      const equalCount = pool.length - aboveCount - belowCount;
      if (needed <= equalCount)
        return { id: pool.filter((id) => weightOf(id) === pivot)[needed - 1] as number, weight: pivot };
      reached += equalCount * pivot;
      pool = below.slice(0, belowCount);
    }
  }
  for (const id of pool.sort((a, b) => weightOf(b) - weightOf(a) || a - b)) {
    reached += weightOf(id);
    if (reached >= mass) return { id, weight: weightOf(id) };
  }
  return { id: weights.length, weight: 0 }; // rounding left a crumb: everything is in
}

/** k-th largest of the scores, by a heap of the k largest seen (smallest on top). */
function kthLargest(scores: Float32Array, k: number): number {
  const heap = scores.slice(0, k).sort();
  for (let i = k; i < scores.length; i++) {
    const score = scores[i] as number;
    if (score > (heap[0] as number)) replaceTop(heap, score);
  }
  return heap[0] as number;
}

function replaceTop(heap: Float32Array, value: number): void {
  let at = 0;
  for (let child = 1; child < heap.length; child = 2 * at + 1) {
    if (child + 1 < heap.length && (heap[child + 1] as number) < (heap[child] as number)) child++;
    if ((heap[child] as number) >= value) break;
    heap[at] = heap[child] as number;
    at = child;
  }
  heap[at] = value;
}

function draw({ ids, probabilities }: Candidates, generator: Random): number {
  let left = generator.uniform();
  for (let i = 0; i < ids.length; i++) {
    left -= probabilities[i] as number;
    if (left < 0) return ids[i] as number;
  }
  return ids[ids.length - 1] as number; // rounding left a crumb
}

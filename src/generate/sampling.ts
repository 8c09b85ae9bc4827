import { InputError, type Problem, RuntimeError } from "../errors.ts";
import { type Random, random } from "../tensor/random.ts";
import { kthLargest } from "../tensor/top-index.ts";
import { isLess, nucleusCut } from "./nucleus.ts";
import { type History, isNeutral, type PenaltyOptions, penalize } from "./penalties.ts";

/** How the next token is chosen. Logits are changed in the order of vLLM (mask, bias, repetition, frequency, presence), and tokens are
 *  dropped in that of transformers (temperature, top-k, top-p, min-p). */
export interface SamplingOptions extends PenaltyOptions {
  /** Divides the logits; 0 takes the most likely token (the lowest id on ties). Default 1. */
  readonly temperature?: number;
  /** Keep the k most likely tokens and those tied with the last of them; 0 keeps all. Default 0. */
  readonly topK?: number;
  /** Keep the most likely tokens that together reach this probability. Default 1: all. */
  readonly topP?: number;
  /** Drop tokens less likely than this share of the most likely one. Default 0: none. */
  readonly minP?: number;
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
  /** Id chosen by logits [vocab], which stay as they are. `history`: the ids so far, the prompt's `promptLength` (default 0) first.
   *  `mask`: bit i of the whole is 1 where token i may be chosen; default: all may.
   *  @throws RuntimeError if a logit is NaN or +Infinity. */
  next(logits: Float32Array, history: History, promptLength?: number, mask?: Int32Array): number;
}

type Settings = Required<SamplingOptions>;

const DEFAULTS: Settings = {
  temperature: 1,
  topK: 0,
  topP: 1,
  minP: 0,
  repetitionPenalty: 1,
  frequencyPenalty: 0,
  presencePenalty: 0,
  logitBias: {},
  seed: 0,
};

/** Sampler with its own stream of random numbers.
 *  @throws InputError naming every option out of range. */
export function createSampler(options: SamplingOptions = {}): Sampler {
  const settings = checked(options);
  const generator = random(settings.seed, "sampling");
  const buffers = createBuffers();
  return {
    next(logits, history, promptLength = 0, mask) {
      const scores = penalized(logits, history, promptLength, settings, buffers, mask);
      if (settings.temperature === 0) return argmax(scores);
      return draw(weigh(scores, settings, buffers), generator);
    },
  };
}

/** The distribution that a token is drawn from. `options.temperature` must not be 0.
 *  @throws InputError as `createSampler`, RuntimeError if a logit is NaN or +Infinity. */
export function candidates(
  logits: Float32Array,
  history: History,
  options: SamplingOptions = {},
  promptLength = 0,
): Candidates {
  const settings = checked(options);
  const buffers = createBuffers();
  const scores = penalized(logits, history, promptLength, settings, buffers);
  const weighed = weigh(scores, settings, buffers);
  const { ids, weights, mass } =
    weighed.ids === null ? likely(weighed.weights, 0, buffers) : (weighed as Kept);
  return { ids, probabilities: weights.map((weight) => weight / mass) };
}

/** The options with their defaults. @throws InputError naming every option out of range */
function checked(options: SamplingOptions): Settings {
  const o = { ...DEFAULTS, ...options };
  const problems: Problem[] = [];
  const check = (where: string, value: unknown, isValid: boolean, expected: string): void => {
    if (!isValid) problems.push({ where, message: `expected ${expected}, got ${value}` });
  };
  const isWithin = (value: number, limit: number): boolean => Math.abs(value) <= limit;
  check("temperature", o.temperature, o.temperature >= 0 && o.temperature < Infinity, "a number, 0 or more");
  check("topK", o.topK, Number.isInteger(o.topK) && o.topK >= 0, "a whole number, 0 (all tokens) or more");
  check("topP", o.topP, o.topP > 0 && o.topP <= 1, "a number above 0, up to 1");
  check("minP", o.minP, o.minP >= 0 && o.minP <= 1, "a number from 0 to 1");
  const { repetitionPenalty: repetition } = o;
  check(
    "repetitionPenalty",
    repetition,
    repetition > 0 && repetition < Infinity,
    "a number above 0 (1: no penalty)",
  );
  for (const name of ["frequencyPenalty", "presencePenalty"] as const)
    check(name, o[name], isWithin(o[name], 2), "a number from -2 to 2");
  for (const [id, bias] of Object.entries(o.logitBias)) {
    check("logitBias", id, /^\d+$/.test(id), "token ids, whole numbers from 0");
    check(`logitBias of ${id}`, bias, isWithin(bias, 100), "a number from -100 to 100");
  }
  check("seed", o.seed, Number.isSafeInteger(o.seed) && o.seed >= 0, "a whole number, 0 or more");
  if (problems.length > 0) throw new InputError("Sampling options are out of range:", problems);
  return o;
}

/** Arrays of the vocabulary's size, made once for all tokens of a text. */
interface Buffers {
  scores(size: number): Float32Array;
  weights(size: number): Float64Array;
  ids(size: number): Int32Array;
}

function createBuffers(): Buffers {
  return {
    scores: kept((size) => new Float32Array(size)),
    weights: kept((size) => new Float64Array(size)),
    ids: kept((size) => new Int32Array(size)),
  };
}

function kept<T extends { readonly length: number }>(make: (size: number) => T): (size: number) => T {
  let last: T | null = null;
  return (size) => {
    if (last?.length !== size) last = make(size);
    return last;
  };
}

function penalized(
  logits: Float32Array,
  history: History,
  promptLength: number,
  settings: Settings,
  buffers: Buffers,
  mask?: Int32Array,
): Float32Array {
  if (isNeutral(settings) && !mask) return logits;
  const scores = buffers.scores(logits.length);
  scores.set(logits);
  if (mask) forbid(scores, mask);
  penalize(scores, history, promptLength, settings);
  return scores;
}

/** Makes tokens impossible whose bit is 0. */
function forbid(scores: Float32Array, mask: Int32Array): void {
  for (let start = 0; start < scores.length; start += 32) {
    const bits = mask[start >> 5] ?? 0;
    if (bits === 0) scores.fill(-Infinity, start, start + 32);
    else if (bits !== -1)
      for (let i = 0; i < 32 && start + i < scores.length; i++)
        if (((bits >>> i) & 1) === 0) scores[start + i] = -Infinity;
  }
}

/** @throws RuntimeError if a score is NaN or +Infinity, or none is finite. */
function argmax(scores: Float32Array): number {
  let best = -1;
  let most = -Infinity;
  for (let id = 0; id < scores.length; id++) {
    const score = scores[id] as number;
    if (score > most) {
      most = score;
      best = id;
    } else if (Number.isNaN(score)) throw brokenLogit(id, score);
    if (score === Infinity) throw brokenLogit(id, score);
  }
  if (best < 0) throw new RuntimeError("no token has a finite logit: the model's output is broken");
  return best;
}

function brokenLogit(id: number, logit: number): RuntimeError {
  return new RuntimeError(`logit of token ${id} is ${logit}: the model's output is broken`);
}

/** Weights of tokens that may be drawn; they add up to `mass`. */
interface Weighed {
  /** Ascending; null: each token's weight stands at its id, 0 for those that may not be drawn. */
  readonly ids: Int32Array | null;
  readonly weights: Float64Array;
  readonly mass: number;
}

function weigh(scores: Float32Array, { temperature, topK, topP, minP }: Settings, buffers: Buffers): Weighed {
  const max = scores[argmax(scores)] as number;
  const kth = topK > 0 && topK < scores.length ? kthLargest(scores, topK) : -Infinity;
  // The most likely token has weight 1, so minP is a bound on the weight itself; a nucleus is a share of all weights.
  const least = topP === 1 && minP > 0 ? max + temperature * Math.log(minP) : -Infinity;
  // A little lower, since exp and log round; the weight itself decides.
  const floor = Math.max(kth, least - Math.abs(least) * 1e-6 - 1e-6);
  const weights = buffers.weights(scores.length);
  let mass = 0;
  for (let id = 0; id < scores.length; id++) {
    const score = scores[id] as number;
    const weight = score >= floor ? Math.exp((score - max) / temperature) : 0;
    weights[id] = weight;
    mass += weight;
  }
  if (topP === 1 && minP === 0) return { ids: null, weights, mass };
  // Tokens below (1 − topP) / n have less than 1 − topP together, since the weights add up to 1 or more: no nucleus needs them.
  const kept = likely(weights, Math.max(minP, (1 - topP) / scores.length), buffers);
  return topP < 1 ? nucleusOf(kept, topP * mass) : kept;
}

interface Kept extends Weighed {
  readonly ids: Int32Array;
}

/** Those of the weights [vocab] that are above 0 and reach `least`; in place. */
function likely(weights: Float64Array, least: number, buffers: Buffers): Kept {
  const ids = buffers.ids(weights.length);
  let count = 0;
  let mass = 0;
  for (let id = 0; id < weights.length; id++) {
    const weight = weights[id] as number;
    if (weight === 0 || weight < least) continue;
    ids[count] = id;
    weights[count++] = weight;
    mass += weight;
  }
  return { ids: ids.subarray(0, count), weights: weights.subarray(0, count), mass };
}

/** The most likely ones, which together reach `share`; in place. */
function nucleusOf({ ids, weights }: Kept, share: number): Kept {
  const cut = nucleusCut(weights, share);
  let count = 0;
  let mass = 0;
  for (let i = 0; i < weights.length; i++) {
    const weight = weights[i] as number;
    if (isLess(weight, i, cut)) continue;
    ids[count] = ids[i] as number;
    weights[count++] = weight;
    mass += weight;
  }
  return { ids: ids.subarray(0, count), weights: weights.subarray(0, count), mass };
}

function draw({ ids, weights, mass }: Weighed, generator: Random): number {
  let left = generator.uniform() * mass;
  let last = 0;
  for (let i = 0; i < weights.length; i++) {
    const weight = weights[i] as number;
    if (weight === 0) continue;
    left -= weight;
    last = i; // it is drawn where rounding leaves a crumb
    if (left < 0) break;
  }
  return ids === null ? last : (ids[last] as number);
}

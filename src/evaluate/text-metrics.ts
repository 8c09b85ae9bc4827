import { l as rougeLcs, n as rougeNgram } from "js-rouge";
import { ShapeError } from "../errors.ts";
import { pythonSplit, pythonStrip } from "../text/python-text.ts";

/** References of one prediction: one text, or several equally good ones. */
export type References = string | readonly string[];

/** Share of predictions in [0, 1] that equal (one of) their references, white space at both ends aside.
 *  @throws ShapeError if the lists differ in length or are empty. */
export function exactMatch(predictions: readonly string[], references: readonly References[]): number {
  const rows = pair(predictions, references);
  const hits = rows.filter(({ text, targets }) => targets.some((t) => t.trim() === text.trim()));
  return hits.length / rows.length;
}

/** Corpus BLEU in [0, 100], as sacrebleu 2 computes it with its defaults, signature
 *  `nrefs:var|case:mixed|eff:no|tok:13a|smooth:exp` (Papineni et al. 2002, with mteval-v13a's tokens). A corpus without any
 *  4-gram scores 0.
 *  @throws ShapeError if the lists differ in length or are empty. */
export function bleu(predictions: readonly string[], references: readonly References[]): number {
  const matches = [0, 0, 0, 0];
  const totals = [0, 0, 0, 0];
  let length = 0;
  let referenceLength = 0;
  for (const { text, targets } of pair(predictions, references)) {
    const tokens = tokenize13a(text);
    const targetTokens = targets.map(tokenize13a);
    length += tokens.length;
    referenceLength += closestLength(tokens.length, targetTokens);
    for (let n = 1; n <= 4; n++) {
      const allowed = maximumCounts(targetTokens.map((t) => ngramCounts(t, n)));
      for (const [gram, count] of ngramCounts(tokens, n)) {
        matches[n - 1] = (matches[n - 1] as number) + Math.min(count, allowed.get(gram) ?? 0);
        totals[n - 1] = (totals[n - 1] as number) + count;
      }
    }
  }
  return combine(matches, totals, length, referenceLength);
}

/** ROUGE F-measures in [0, 1]. */
export interface RougeScores {
  readonly rouge1: number;
  readonly rouge2: number;
  readonly rougeL: number;
}

/** Mean ROUGE-1, -2 and -L F-measures in [0, 1], as rouge-score 0.1 computes them without stemming: lower-case runs of
 *  [a-z0-9] are the words, so text in other scripts scores 0. With several references the best one counts.
 *  @throws ShapeError if the lists differ in length or are empty. */
export function rouge(predictions: readonly string[], references: readonly References[]): RougeScores {
  const rows = pair(predictions, references);
  const mean = (score: (text: string, target: string) => number): number =>
    rows.reduce((sum, { text, targets }) => sum + Math.max(...targets.map((t) => score(text, t))), 0) /
    rows.length;
  return {
    rouge1: mean((a, b) => wordScore(a, b, () => rougeNgram(a, b, { n: 1, tokenizer: rougeWords }))),
    rouge2: mean((a, b) => wordScore(a, b, () => rougeNgram(a, b, { n: 2, tokenizer: rougeWords }))),
    rougeL: mean((a, b) =>
      wordScore(a, b, () => rougeLcs(a, b, { tokenizer: rougeWords, segmenter: (text) => [text] })),
    ),
  };
}

interface Row {
  readonly text: string;
  readonly targets: readonly string[];
}

function pair(predictions: readonly string[], references: readonly References[]): Row[] {
  if (predictions.length !== references.length || predictions.length === 0) {
    throw new ShapeError(
      `expected as many references as predictions, at least one; got ${predictions.length} predictions, ${references.length} references`,
    );
  }
  return predictions.map((text, i) => {
    const target = references[i] as References;
    const targets = typeof target === "string" ? [target] : target;
    if (targets.length === 0) throw new ShapeError(`prediction ${i + 1} has an empty list of references`);
    return { text, targets };
  });
}

/** Tokens of mteval-v13a: punctuation apart from words, but `.`, `,` and `-` kept inside numbers. */
function tokenize13a(text: string): string[] {
  const line = pythonStrip(text, "rstrip")
    .replaceAll("<skipped>", "")
    .replaceAll("-\n", "")
    .replaceAll("\n", " ")
    .replaceAll("&quot;", '"')
    .replaceAll("&amp;", "&")
    .replaceAll("&lt;", "<")
    .replaceAll("&gt;", ">");
  const spaced = ` ${line} `
    .replace(/([{-~[-` -&(-+:-@/])/gu, " $1 ")
    .replace(/([^0-9])([.,])/gu, "$1 $2 ")
    .replace(/([.,])([^0-9])/gu, " $1 $2")
    .replace(/([0-9])(-)/gu, "$1 $2 ");
  return pythonSplit(spaced);
}

function ngramCounts(tokens: readonly string[], n: number): Map<string, number> {
  const counts = new Map<string, number>();
  for (let i = 0; i + n <= tokens.length; i++) {
    const gram = tokens.slice(i, i + n).join(" ");
    counts.set(gram, (counts.get(gram) ?? 0) + 1);
  }
  return counts;
}

function maximumCounts(all: readonly ReadonlyMap<string, number>[]): Map<string, number> {
  const maximum = new Map<string, number>();
  for (const counts of all) {
    for (const [gram, count] of counts) maximum.set(gram, Math.max(count, maximum.get(gram) ?? 0));
  }
  return maximum;
}

/** Length of the reference closest in length, the shorter on ties. */
function closestLength(length: number, targets: readonly (readonly string[])[]): number {
  const lengths = targets.map((t) => t.length).sort((a, b) => a - b);
  return lengths.reduce((best, l) => (Math.abs(l - length) < Math.abs(best - length) ? l : best));
}

/** Brevity penalty times the geometric mean of the precisions; the i-th precision without a match counts as
 *  1/(2^i·total). */
function combine(
  matches: readonly number[],
  totals: readonly number[],
  length: number,
  referenceLength: number,
): number {
  if (matches.every((m) => m === 0) || totals.some((t) => t === 0)) return 0;
  let smoothing = 1;
  const logs = matches.map((match, i) => {
    if (match === 0) smoothing *= 2;
    return Math.log((100 * (match || 1 / smoothing)) / (totals[i] as number));
  });
  const brevity = length < referenceLength ? Math.exp(1 - referenceLength / length) : 1;
  return brevity * Math.exp(logs.reduce((sum, l) => sum + l, 0) / logs.length);
}

function rougeWords(text: string): string[] {
  return text.toLowerCase().match(/[a-z0-9]+/g) ?? [];
}

/** js-rouge refuses texts of white space; without words the score is 0. */
function wordScore(text: string, target: string, score: () => number): number {
  return rougeWords(text).length === 0 || rougeWords(target).length === 0 ? 0 : score();
}

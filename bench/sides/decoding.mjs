import { median } from "../lib/statistics.mjs";

/** One greedy answer of a loaded model, timed: the prompt to the first token, and the tokens after it. */
export async function decodeOnce(model, { prompt, maxTokens }) {
  await model.logits([0]); // so that nothing is left of the answer before, which began alike
  const started = performance.now();
  let first = null;
  const pieces = model.generate({ prompt, raw: true, maxTokens });
  for (;;) {
    const { done, value } = await pieces.next();
    const now = performance.now();
    first ??= now;
    if (done) return timed(value, (first - started) / 1000, (now - first) / 1000);
  }
}

function timed({ ids, promptTokens }, promptSeconds, decodeSeconds) {
  return {
    promptTokensPerSecond: promptTokens / promptSeconds,
    decodeTokensPerSecond: (ids.length - 1) / decodeSeconds,
    ids,
    promptTokens,
  };
}

/** Medians over answers to one prompt, with the process's peak memory. */
export function summarize(runs) {
  const of = (field) => median(runs.map((r) => r[field]));
  return {
    promptTokensPerSecond: of("promptTokensPerSecond"),
    decodeTokensPerSecond: of("decodeTokensPerSecond"),
    ids: runs[0].ids,
    promptTokens: runs[0].promptTokens,
    peakRssBytes: process.resourceUsage().maxRSS * 1024,
  };
}

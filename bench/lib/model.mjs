import {
  adapterParameters,
  createDecoder,
  createEvaluationEngine,
  encodeDataset,
  loadDataset,
  lora,
  openRuntime,
  readAdapter,
} from "./lowrank.mjs";

export const MODEL = "smollm2-135m";
export const DATA = "shell-recipes";
export const MAX_LENGTH = 512;

/** The bundled data as token ids: { train, test }, each a list of { ids, isLabel, index }. */
export async function encodedData({ tokenizer, template, eosIds }) {
  const data = await loadDataset({ source: DATA });
  const encode = (rows) =>
    encodeDataset(rows, { tokenizer, template, eosIds }, { maxLength: MAX_LENGTH }).examples;
  return { rows: { train: data.train, test: data.test }, train: encode(data.train), test: encode(data.test) };
}

/** An example as the Python side reads it. */
export function plainRow({ ids, isLabel }) {
  return { ids: Array.from(ids), labels: Array.from(isLabel) };
}

/** Opens an adapter folder on the base; calls `use` with a runtime that holds its parameters, scaled by `scale`. */
async function withAdapter(base, folder, scale, use) {
  const file = await readAdapter(folder);
  const method = lora(file.config, base.config.family, base.modules);
  const theta = adapterParameters(method, base.config.family, file, folder).map((x) => x * scale);
  const runtime = openRuntime();
  const { config, family, modules, frozen } = base;
  const shared = { positionCount: MAX_LENGTH, rowTokens: MAX_LENGTH };
  const model = { config, family, modules, frozen, methods: [method], ...shared };
  try {
    await runtime.put({ theta: { dtype: "float32", shape: [theta.length], data: theta } });
    return await use(runtime, model);
  } finally {
    await runtime.close();
  }
}

/** Label loss of every example, [{ loss: Σ nats, labels }]. `isBase`: the adapter's parameters are set to zero. */
export function scoreRows(base, folder, examples, { isBase = false } = {}) {
  return withAdapter(base, folder, isBase ? 0 : 1, async (runtime, model) => {
    const engine = await createEvaluationEngine(runtime, model, base.weights.folder, 1, MAX_LENGTH);
    const scores = [];
    for (const example of examples) {
      const { loss, labelTokens } = await engine.evaluate([example]);
      scores.push({ loss: loss * labelTokens, labels: labelTokens });
    }
    return scores;
  });
}

/** Next-token logits at every position of every prompt: `visit(prompt, position, logits [V])`. The prompts go token by
 *  token through the key-value cache, side by side. */
export function everyLogits(base, folder, prompts, visit) {
  return withAdapter(base, folder, 1, async (runtime, model) => {
    const decoder = await createDecoder(runtime, model, base.weights.folder);
    const longest = Math.max(...prompts.map((p) => p.length));
    for (let t = 0; t < longest; t++) {
      const tokens = prompts.map((p) => p[t] ?? 0);
      const rows = t === 0 ? await decoder.start(tokens.map((id) => [id])) : await decoder.next(tokens);
      rows.forEach((logits, i) => {
        if (t < prompts[i].length) visit(i, t, logits);
      });
    }
  });
}

/** Logits after each whole prompt, read in one pass: `visit(prompt, logits [V])`. */
export function lastLogits(base, folder, prompts, visit) {
  return withAdapter(base, folder, 1, async (runtime, model) => {
    const decoder = await createDecoder(runtime, model, base.weights.folder);
    (await decoder.start(prompts)).forEach((logits, i) => {
      visit(i, logits);
    });
  });
}

import type { EncodedDataset } from "../data/examples.ts";
import { readAdapter } from "../formats/peft-adapter.ts";
import { resolveAdapter } from "../formats/resolve.ts";
import { bleu, exactMatch, rouge } from "../generate/metrics.ts";
import { type BaseModel, type OpenBaseOptions, openBase } from "../models/base-model.ts";
import type { AdaptedModel } from "../peft/adapted-model.ts";
import { adapterParameters } from "../peft/adapter.ts";
import { lora } from "../peft/lora.ts";
import type { Device } from "../runtime/device.ts";
import { openRuntime, type Runtime } from "../runtime/runtime.ts";
import { floats } from "../tensor/tensor.ts";
import { type DataChoice, encodeRows, readData } from "./data.ts";
import { createEvaluationEngine, type EvaluationResult, maxBatchLabels } from "./engine.ts";
import type { ProgressEvent, Sample, WarningEvent } from "./events.ts";
import { maxRowTokens } from "./plan.ts";
import { reporting, withProgress } from "./progress.ts";
import { answer, promptsOf } from "./samples.ts";

/** What to evaluate, and on what. Data options are those of training. */
export interface EvaluateOptions extends DataChoice, OpenBaseOptions {
  readonly model: string;
  readonly adapter?: string;
  readonly device?: Device;
  readonly threads?: number | null;
  /** Examples side by side. */
  readonly batchSize: number;
  /** Also answer every prompt greedily and compare with the references. */
  readonly generate: boolean;
  /** Most tokens of an answer. */
  readonly maxTokens: number;
}

/** Measures of a model on data. */
export interface EvaluationSummary {
  readonly type: "result";
  readonly split: "validation" | "test";
  readonly examples: number;
  readonly labelTokens: number;
  /** Nats per label token. */
  readonly loss: number;
  readonly perplexity: number;
  /** 0 to 1. */
  readonly tokenAccuracy: number;
  readonly elapsedMs: number;
  /** By generation: shares of 0 to 1, BLEU of 0 to 100. */
  readonly exactMatch?: number;
  readonly bleu?: number;
  readonly rouge1?: number;
  readonly rougeL?: number;
}

/** What an evaluation says while it runs; the summary comes last. */
export type EvaluateEvent =
  | ProgressEvent
  | WarningEvent
  | { readonly type: "examples"; readonly done: number; readonly total: number }
  | EvaluationSummary;

interface Subject {
  readonly model: AdaptedModel;
  readonly theta: Float32Array | null;
  readonly warnings: readonly string[];
}

async function subjectOf(options: EvaluateOptions, base: BaseModel, data: EncodedDataset): Promise<Subject> {
  const { config, family, modules, frozen } = base;
  const positionCount = Math.min(
    config.maxPositions,
    options.maxLength + (options.generate ? options.maxTokens : 0),
  );
  const rowTokens = maxRowTokens([data], options.batchSize);
  const model = { config, family, modules, frozen, methods: [], positionCount, rowTokens };
  if (options.adapter === undefined) return { model, theta: null, warnings: [] };
  const folder = await resolveAdapter(options.adapter, { offline: options.offline ?? false });
  const file = await readAdapter(folder);
  const adaptation = lora(file.config, config.family, modules);
  const theta = adapterParameters(adaptation, config.family, file, folder);
  return { model: { ...model, methods: [adaptation] }, theta, warnings: file.warnings };
}

/** Scores a model on data: loss, perplexity and token accuracy; with `generate` also exact match, BLEU and ROUGE of greedy
 *  answers. Of a data set with splits the test rows count, else validation, else all.
 *  @throws InputError for everything wrong in the data; and what opening model and adapter throws */
export async function* evaluate(options: EvaluateOptions): AsyncGenerator<EvaluateEvent> {
  const dataset = await readData(options);
  const split = dataset.test.length > 0 || dataset.validation.length === 0 ? "test" : "validation";
  const rows = dataset[split].length > 0 ? dataset[split] : dataset.train;
  const base = yield* withProgress((onProgress) => openBase(options.model, { ...options, onProgress }));
  const encoded = encodeRows(rows, base, options) as EncodedDataset;
  const subject = await subjectOf(options, base, encoded);
  for (const message of subject.warnings) yield { type: "warning", message };
  const runtime = openRuntime(options);
  try {
    const { theta } = subject;
    if (theta) await runtime.put({ theta: floats(theta, [theta.length]) });
    const started = performance.now();
    const scores = yield* score(options, base, encoded, subject.model, runtime);
    const answers = options.generate ? yield* answersTo(options, base, rows, subject.model, runtime) : {};
    const examples = encoded.examples.length;
    const perplexity = Math.exp(scores.loss);
    const elapsedMs = performance.now() - started;
    yield { type: "result", split, examples, ...scores, perplexity, elapsedMs, ...answers };
  } finally {
    await runtime.close();
  }
}

async function* score(
  options: EvaluateOptions,
  base: BaseModel,
  { examples }: EncodedDataset,
  model: AdaptedModel,
  runtime: Runtime,
): AsyncGenerator<EvaluateEvent, EvaluationResult> {
  const labels = maxBatchLabels(examples, options.batchSize);
  const engine = await createEvaluationEngine(runtime, model, base.weights.folder, options.batchSize, labels);
  const total = examples.length;
  const { signal } = options;
  try {
    return yield* reporting<EvaluateEvent, EvaluationResult>((report) =>
      engine.evaluate(examples, {
        onBatch: (done) => report({ type: "examples", done, total }),
        ...(signal ? { signal } : {}),
      }),
    );
  } finally {
    await engine.close();
  }
}

type AnswerScores = Required<Pick<EvaluationSummary, "exactMatch" | "bleu" | "rouge1" | "rougeL">>;

async function* answersTo(
  options: EvaluateOptions,
  base: BaseModel,
  rows: Parameters<typeof promptsOf>[1],
  model: AdaptedModel,
  runtime: Runtime,
): AsyncGenerator<EvaluateEvent, AnswerScores | Record<string, never>> {
  const prompts = promptsOf(base, rows, options.maxLength);
  if (prompts.length < rows.length) {
    const left = rows.length - prompts.length;
    yield { type: "warning", message: `${left} of ${rows.length} rows have no prompt that can be answered` };
  }
  if (prompts.length === 0) return {};
  const { maxTokens, batchSize, signal } = options;
  const samples = yield* reporting<EvaluateEvent, Sample[]>((report) =>
    answer(runtime, model, base, prompts, {
      maxTokens,
      batchSize,
      signal,
      onDone: (done) => report({ type: "examples", done, total: prompts.length }),
    }),
  );
  const outputs = samples.map((s) => s.output.trim());
  const references = samples.map((s) => s.reference.trim());
  const { rouge1, rougeL } = rouge(outputs, references);
  return {
    exactMatch: exactMatch(outputs, references),
    bleu: bleu(outputs, references),
    rouge1,
    rougeL,
  };
}

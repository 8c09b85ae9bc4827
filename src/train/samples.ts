import { askedRow } from "../data/asked.ts";
import type { DatasetRow } from "../data/rows.ts";
import { continueAll, textOf } from "../generate/continuation.ts";
import { createDecoder } from "../generate/decoder.ts";
import { withoutLeadIn } from "../generate/lead-in.ts";
import type { BaseModel } from "../models/base.ts";
import { ALONE, type ProcessGroup } from "../parallel/group.ts";
import type { Method } from "../peft/method.ts";
import type { AdaptedModel } from "../peft/use/adapted-model.ts";
import { virtualLayout, virtualPrompt } from "../peft/virtual-tokens.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { Sample } from "./sample.ts";

/** A prompt that can be answered, and the answer in the data. */
export interface Prompt {
  /** The last turn before the answer. */
  readonly text: string;
  readonly ids: readonly number[];
  readonly reference: string;
  /** Other answers that are as good. */
  readonly others: readonly string[];
  /** Tokens of the answer in the data, of the longest where there are several, without the one that ends it. */
  readonly answerLength: number;
  /** Text that may stand in front of an answer and is no part of it. */
  readonly leadIn: string;
}

/** Rows of conversations whose last turn can be asked for, as prompts for a model with its methods; plain text has none. */
export function promptsOf(
  base: BaseModel,
  methods: readonly Method[],
  rows: Iterable<DatasetRow>,
  maxLength: number,
): Prompt[] {
  const layout = virtualLayout(methods, base.config.vocabSize);
  const prompts: Prompt[] = [];
  for (const { row } of rows) {
    const asked = askedRow(row, base);
    if (asked === null) continue;
    const { text, leadIn } = asked;
    const ids = virtualPrompt(asked.ids, layout, asked.answerStart);
    const reference = withoutLeadIn(textOf(base.tokenizer, asked.answer), leadIn);
    const others = row.kind === "conversation" ? (row.references ?? []) : [];
    const answerLength = Math.max(
      asked.answer.length,
      ...others.map((other) => base.tokenizer.encode(other).length),
    );
    if (ids.length > 0 && ids.length < maxLength)
      prompts.push({ text, ids, reference, others, answerLength, leadIn });
  }
  return prompts;
}

/** Answers prompts greedily with the parameters in the runtime, `batchSize` side by side. Members of a group answer a part each, and get
 *  all answers. */
export async function answer(
  runtime: Runtime,
  model: AdaptedModel,
  base: BaseModel,
  prompts: readonly Prompt[],
  options: {
    readonly maxTokens: number;
    readonly batchSize: number;
    readonly signal?: AbortSignal | undefined;
    readonly onDone?: (done: number) => void;
    readonly group?: ProcessGroup;
  },
): Promise<Sample[]> {
  const { rank, size, gather } = options.group ?? ALONE;
  const from = (member: number): number => Math.floor((member * prompts.length) / size);
  const own = prompts.slice(from(rank), from(rank + 1));
  const answers = own.length === 0 ? [] : await answerOwn(runtime, model, base, own, options);
  return (await gather(answers)).flat();
}

async function answerOwn(
  runtime: Runtime,
  model: AdaptedModel,
  base: BaseModel,
  prompts: readonly Prompt[],
  options: Parameters<typeof answer>[4],
): Promise<Sample[]> {
  const decoder = await createDecoder(runtime, { ...model, frozen: base.decoding }, base.weights.folder, {
    prepack: false, // not worth it for a few answers
  });
  try {
    const answers = await continueAll(
      decoder,
      prompts.map((p) => p.ids),
      {
        eosIds: base.eosIds,
        maxTokens: options.maxTokens,
        room: model.positionCount,
        rows: Math.min(options.batchSize, prompts.length),
        signal: options.signal,
        onDone: options.onDone,
      },
    );
    return prompts.map((p, i) => ({
      prompt: p.text,
      reference: p.reference,
      ...(p.others.length > 0 ? { others: p.others } : {}),
      output: withoutLeadIn(textOf(base.tokenizer, answers[i] as number[]), p.leadIn),
    }));
  } finally {
    await decoder.close();
  }
}

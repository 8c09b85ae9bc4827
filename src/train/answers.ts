import type { DatasetRow, Rows } from "../data/rows.ts";
import { InputError } from "../errors.ts";
import type { BaseModel } from "../models/base.ts";
import type { Method } from "../peft/method.ts";
import type { ExactMatch } from "./events.ts";
import { referencesOf } from "./sample.ts";
import { answer, promptsOf } from "./samples.ts";
import type { SampleRequest } from "./tasks/task.ts";

/** Prompts answered side by side: more take more memory and are hardly faster. */
const SIDE_BY_SIDE = 20;

/** `count` rows, evenly spaced: the rows of a file are often sorted. */
function spread(rows: Rows, count: number): DatasetRow[] {
  const taken = Math.min(count, rows.length);
  return Array.from(
    { length: taken },
    (_, i) => rows.at(Math.floor((i * rows.length) / taken)) as DatasetRow,
  );
}

/** Answers `count` held-out rows greedily, as many of them as can be asked, and compares the texts with those in the data, white space at
 *  both ends aside (one of several equally good ones is enough); null where none can be asked. An answer is cut one token after the longest that is right: what is longer is wrong. */
export async function scoreAnswers(request: SampleRequest): Promise<ExactMatch | null> {
  const { runtime, model, base, rows, count, maxLength, signal, group } = request;
  const prompts = promptsOf(base, model.methods, spread(rows, count), maxLength);
  if (prompts.length === 0) return null;
  const maxTokens = 1 + Math.max(...prompts.map((p) => p.answerLength));
  const options = { maxTokens, batchSize: SIDE_BY_SIDE, signal, group };
  const samples = await answer(runtime, model, base, prompts, options);
  const hits = samples.filter((one) => referencesOf(one).includes(one.output.trim())).length;
  return { share: hits / samples.length, prompts: samples.length };
}

/** @throws InputError where answers are to be compared and there are none */
export function checkScoring(
  count: number,
  base: BaseModel,
  methods: readonly Method[],
  heldOut: Rows,
  { command, name }: { readonly command: string; readonly name: string },
): void {
  if (count === 0) return;
  const fault = (message: string): InputError =>
    new InputError("the training options do not hold:", [{ where: "scoreAnswers", message }]);
  if (command !== "generate") throw fault(`has no effect in ${name}: its measures compare every label`);
  if (heldOut.length === 0) throw fault("needs testData, validationData or validationFraction");
  if (promptsOf(base, methods, spread(heldOut, count), Number.POSITIVE_INFINITY).length === 0)
    throw fault("no held-out row has a prompt and an answer");
}

import type { Labelled } from "../../data/formats/format.ts";
import { InputError, type Problem, UnsupportedError } from "../../errors.ts";
import { hfModuleName } from "../../formats/names.ts";
import { outputText, predict } from "../../generate/predict.ts";
import type { BaseModel } from "../../models/base.ts";
import { encoderOf } from "../../models/family.ts";
import type { Method } from "../../peft/method.ts";
import { sequenceEncoder } from "../../text/sequence.ts";
import type { Task } from "./task.ts";

function checkMethods(base: Pick<BaseModel, "config" | "newWeights">, methods: readonly Method[]): void {
  const putting = methods.filter((m) => m.virtualTokens !== null || m.positionOffset > 0);
  if (putting.length > 0)
    throw new UnsupportedError(
      `${putting.map((m) => m.name).join(" and ")} cannot be used on ${base.config.architecture}: an encoder's first token ` +
        "must stay the first",
    );
  const trained = new Set(methods.flatMap((m) => m.trainables.map((t) => t.name)));
  const left = base.newWeights.filter((path) => !trained.has(path));
  const problems = left.map((path): Problem => {
    const name = hfModuleName(base.config.family, path.replace(/\.(weight|bias)$/, ""));
    return {
      where: "method",
      message: `${methods.map((m) => m.name).join("+")} does not train ${name}, which is new`,
    };
  });
  if (problems.length > 0) throw new InputError("the head would stay at random values", problems);
}

const preview: Task["preview"] = ({ ids, target = 0 }, { tokenizer, config }) => [
  { text: `${tokenizer.decode(ids, { special: true }).trim()}  `, isLabel: false },
  { text: outputText(target, encoderOf(config).classifier), isLabel: true },
];

const samples: Task["samples"] = async ({ runtime, model, base, rows, count, maxLength }) => {
  const chosen: Labelled[] = [];
  for (const { row } of rows) {
    if (chosen.length === count) break;
    if (row.kind === "labelled") chosen.push(row);
  }
  if (chosen.length === 0) return [];
  const encoder = sequenceEncoder(base.tokenizer, base.source.tokenizer.tokenizerJson);
  const predictions = await predict(
    runtime,
    model,
    base.weights.folder,
    chosen.map(({ text, pair }) => encoder(text, pair, maxLength)),
  );
  return chosen.map(({ text, pair, label }, i) => ({
    prompt: pair === null ? text : `${text}\n${pair}`,
    reference: String(label),
    output: outputText(predictions[i]?.target as number, encoderOf(base.config).classifier),
  }));
};

/** What tasks of an encoder share: a head that is trained with the adapter, and predictions as samples. */
export const encoderTask: Pick<
  Task,
  "command" | "peftName" | "fits" | "checkMethods" | "preview" | "samples"
> = {
  command: "classify",
  peftName: "SEQ_CLS",
  fits: ({ config }) => config.encoder !== undefined,
  checkMethods,
  preview,
  samples,
};

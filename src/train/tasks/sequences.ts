import type { Labelled } from "../../data/formats/format.ts";
import { indicesWhere } from "../../data/indexed.ts";
import { labelIndex, numberOf } from "../../data/labels.ts";
import { rowsAt } from "../../data/row-store.ts";
import type { DatasetRow } from "../../data/rows.ts";
import { packSequences } from "../../data/sequence-batch.ts";
import { encodeSequences } from "../../data/sequence-examples.ts";
import { InputError, type Problem, UnsupportedError } from "../../errors.ts";
import { hfModuleName } from "../../formats/names.ts";
import { outputText, predict } from "../../generate/predict.ts";
import type { BaseModel } from "../../models/base.ts";
import { encoderOf } from "../../models/family.ts";
import type { Method } from "../../peft/method.ts";
import { sequenceEncoder } from "../../text/sequence.ts";
import type { Scorer, Task } from "./task.ts";

/** What tasks of an encoder share: whole sequences, each with one target, and a head that is trained with the adapter. */
type Shared =
  | "counts"
  | "command"
  | "peftName"
  | "fits"
  | "checkMethods"
  | "labelled"
  | "encode"
  | "preview"
  | "pack"
  | "sharesPrefixes"
  | "packedSize"
  | "scores"
  | "samples";

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

/** Data sets of the Hub have −1 where a label is hidden. */
const labelled: Task["labelled"] = (rows, { config }) => {
  const { kind, labels } = encoderOf(config).classifier;
  const isHidden = ({ row }: DatasetRow): boolean =>
    row.kind === "labelled" && numberOf(row.label) === -1 && labelIndex(row.label, labels) === null;
  return kind === "value"
    ? rows
    : rowsAt(
        rows,
        indicesWhere(rows, (row) => !isHidden(row)),
      );
};

const encode: Task["encode"] = (rows, base, choice) => {
  const { tokenizer, source, config } = base;
  const codec = {
    encode: sequenceEncoder(tokenizer, source.tokenizer.tokenizerJson),
    classifier: encoderOf(config).classifier,
  };
  return encodeSequences(rows, codec, choice);
};

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

/** The shared part of an encoder's tasks. */
export const sequences: Pick<Task, Shared> = {
  counts: "examples",
  command: "classify",
  peftName: "SEQ_CLS",
  fits: ({ config }) => config.encoder !== undefined,
  checkMethods,
  labelled,
  encode,
  preview,
  pack: packSequences,
  sharesPrefixes: false,
  packedSize: (examples) => examples.reduce((n, { ids }) => n + ids.length, 0),
  scores: (chunks) => Object.fromEntries(chunks.map(({ logits }, i) => [`logits.${i}`, logits])),
  samples,
};

/** Collects the logits [n] and the target of each example. */
export function collecting(
  measuresOf: (logits: readonly Float32Array[], targets: readonly number[]) => ReturnType<Scorer["measures"]>,
): Scorer {
  const rows: Float32Array[] = [];
  const targets: number[] = [];
  return {
    add: (outputs, batch) => {
      const chunks = Object.keys(outputs).filter((name) => name.startsWith("logits.")).length;
      const perChunk = batch.edgeWeights.length / chunks;
      batch.edgeWeights.forEach((weight, e) => {
        if (weight === 0) return;
        const logits = outputs[`logits.${Math.floor(e / perChunk)}`]?.data as Float32Array;
        const size = logits.length / perChunk;
        const at = (e % perChunk) * size;
        rows.push(logits.slice(at, at + size));
        targets.push(batch.edgeTargets?.[e] ?? 0);
      });
    },
    measures: () => measuresOf(rows, targets),
  };
}

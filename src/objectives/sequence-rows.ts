import { indicesWhere } from "../data/indexed.ts";
import { labelIndex, numberOf } from "../data/labels.ts";
import { rowsAt } from "../data/row-store.ts";
import type { DatasetRow } from "../data/rows.ts";
import { packSequences } from "../data/sequence-batch.ts";
import { encodeSequences } from "../data/sequence-examples.ts";
import { encoderOf } from "../models/family.ts";
import { sequenceEncoder } from "../text/sequence.ts";
import type { Objective, Scorer } from "./objective.ts";

/** Data sets of the Hub have −1 where a label is hidden. */
const labelled: Objective["labelled"] = (rows, { config }) => {
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

const encode: Objective["encode"] = (rows, base, choice) => {
  const { tokenizer, source, config } = base;
  const codec = {
    encode: sequenceEncoder(tokenizer, source.tokenizer.tokenizerJson),
    classifier: encoderOf(config).classifier,
  };
  return encodeSequences(rows, codec, choice);
};

/** What objectives of an encoder share: whole sequences, each with one target. */
export const sequenceRows: Pick<
  Objective,
  "counts" | "labelled" | "encode" | "pack" | "sharesPrefixes" | "packedSize" | "weigh" | "scores"
> = {
  counts: "examples",
  labelled,
  encode,
  pack: packSequences,
  sharesPrefixes: false,
  packedSize: (examples) => examples.reduce((n, { ids }) => n + ids.length, 0),
  weigh: null,
  scores: (chunks) => Object.fromEntries(chunks.map(({ logits }, i) => [`logits.${i}`, logits])),
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

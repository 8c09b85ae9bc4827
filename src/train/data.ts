import type { EncodedDataset } from "../data/examples.ts";
import type { ExampleOptions } from "../data/options.ts";
import type { Rows } from "../data/rows.ts";
import { InputError } from "../errors.ts";
import type { BaseModel } from "../models/base.ts";
import type { EncodeChoice, Objective } from "../objectives/objective.ts";
import type { Method } from "../peft/method.ts";
import { positionRoom } from "../peft/use/adapted-model.ts";

/** A split as examples; null where the split is empty. */
export type EncodedSplit = EncodedDataset | null;

const DEFAULT_MAX_LENGTH = 512;

/** Longest example in tokens: what was asked for, else 512 or as many positions as a model with its methods has.
 *  @throws InputError if more is asked for than it has */
export function lengthLimit(
  { maxLength }: Pick<ExampleOptions, "maxLength">,
  { config, source }: BaseModel,
  methods: readonly Method[],
): number {
  const room = positionRoom(config, methods);
  if (maxLength === null) return Math.min(DEFAULT_MAX_LENGTH, room);
  if (maxLength <= room) return maxLength;
  const message = `expected at most ${room}, the positions ${source.name} has for it, got ${maxLength}`;
  throw new InputError("the examples do not fit the model", [{ where: "maxLength", message }]);
}

/** Encodes the rows of one split for a model; null where there are none. @throws InputError */
export async function encodeRows(
  rows: Rows,
  base: BaseModel,
  choice: EncodeChoice,
  methods: readonly Method[],
  objective: Objective,
): Promise<EncodedSplit> {
  return rows.length === 0 ? null : objective.encode(rows, base, choice, methods);
}

import { type Dataset, type DatasetOptions, loadDataset } from "../data/dataset.ts";
import type { EncodedDataset, Rows } from "../data/examples.ts";
import type { RowWork } from "../data/visit-rows.ts";
import { InputError } from "../errors.ts";
import type { HubOptions } from "../hub/repo.ts";
import type { BaseModel } from "../models/base-model.ts";
import type { Method } from "../peft/method.ts";
import { positionRoom } from "../peft/use/adapted-model.ts";
import { languageModelling } from "./tasks/language-modelling.ts";
import type { Task } from "./tasks/task.ts";

/** Options of a data set as training and evaluation share them; names are those of the training options. */
export interface DataChoice {
  readonly data: readonly string[];
  readonly format: string | null;
  readonly promptField: string | null;
  readonly completionField: string | null;
  readonly systemField: string | null;
  readonly promptTemplate: string | null;
  readonly messagesField: string | null;
  readonly textField: string | null;
  readonly pairField: string | null;
  readonly labelField: string | null;
  readonly textUnit: "file" | "paragraph" | "line";
  readonly limit: number | null;
  readonly onBadRow: "drop" | "error" | null;
  /** null: 512, or what the model has room for. */
  readonly maxLength: number | null;
  readonly truncation: "left" | "drop" | "error";
  readonly lossOn: "completions" | "all";
}

/** How training holds examples out. */
export interface HoldOut {
  readonly validationData: readonly string[] | null;
  readonly validationFraction: number;
  readonly testData: readonly string[] | null;
  readonly seed: number;
}

/** Drops what is null: absent options have the data layer's defaults. */
function given<T extends Record<string, unknown>>(options: T): { [K in keyof T]?: NonNullable<T[K]> } {
  return Object.fromEntries(Object.entries(options).filter(([, v]) => v !== null)) as never;
}

/** How data sets are fetched and held. */
export type DataAccess = Pick<HubOptions, "offline"> & RowWork;

/** Reads the data sets of a choice. @throws InputError with file and line of every problem */
export function readData(
  choice: DataChoice,
  holdOut: Partial<HoldOut> = {},
  access: DataAccess = {},
): Promise<Dataset> {
  const { data, format, promptField, completionField, systemField } = choice;
  const { promptTemplate, messagesField, textField, pairField, labelField, textUnit, limit, onBadRow } =
    choice;
  const options = given({
    format,
    promptField,
    completionField,
    systemField,
    promptTemplate,
    messagesField,
    textField,
    pairField,
    labelField,
    textUnit,
    limit,
    onBadRow,
    validation: holdOut.validationData ?? null,
    test: holdOut.testData ?? null,
    validationFraction: holdOut.validationFraction ?? null,
    seed: holdOut.seed ?? null,
  });
  const { offline, spill, onProgress, signal } = access;
  const hub = given({ offline: offline ?? null, onProgress: onProgress ?? null, signal: signal ?? null });
  return loadDataset({ source: data, hub, spill, onProgress, signal, ...options } as DatasetOptions);
}

/** A split as examples; null where the split is empty. */
export type EncodedSplit = EncodedDataset | null;

const DEFAULT_MAX_LENGTH = 512;

/** Longest example in tokens: what was asked for, else 512 or as many positions as a model with its methods has.
 *  @throws InputError if more is asked for than it has */
export function lengthLimit(
  { maxLength }: Pick<DataChoice, "maxLength">,
  { config, source }: BaseModel,
  methods: readonly Method[],
): number {
  const room = positionRoom(config, methods);
  if (maxLength === null) return Math.min(DEFAULT_MAX_LENGTH, room);
  if (maxLength <= room) return maxLength;
  const message = `expected at most ${room}, the positions ${source.name} has for it, got ${maxLength}`;
  throw new InputError("the examples do not fit the model", [{ where: "maxLength", message }]);
}

/** How rows become examples. */
export type EncodeChoice = Pick<DataChoice, "lossOn" | "truncation" | "onBadRow"> &
  RowWork & { readonly maxLength: number };

/** Encodes the rows of one split for a model, as its task does. @throws InputError */
export async function encodeRows(
  rows: Rows,
  base: BaseModel,
  choice: EncodeChoice,
  methods: readonly Method[],
  task: Task = languageModelling,
): Promise<EncodedSplit> {
  return rows.length === 0 ? null : task.encode(rows, base, choice, methods);
}

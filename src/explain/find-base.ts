import { NetworkError, NotFoundError } from "../errors.ts";
import { baseModelOfAdapter } from "../formats/foreign-adapter.ts";
import type { BaseModel } from "../models/base.ts";
import { openBase } from "../models/base-model.ts";
import { withClassifier } from "../models/new-head.ts";
import { labelsOf } from "../peft/files/adapter.ts";
import { adapterShape } from "../peft/files/adapter-shape.ts";
import type { ModelShape } from "../peft/model-shape.ts";
import type { UpdatesOptions } from "./update.ts";

/** What is known of an adapter's base. */
export interface FoundBase {
  /** With its weights. */
  readonly base: BaseModel | null;
  /** Without them at least. */
  readonly shape: ModelShape | null;
  readonly notes: readonly string[];
}

/** The base of an adapter, as much of it as is asked for and there. `path`: of the adapter.
 *  @throws as `openBase` where `model` is given; what is wrong with a base that is there */
export async function findBase(path: string, options: UpdatesOptions): Promise<FoundBase> {
  const name = options.model ?? (await baseModelOfAdapter(path));
  if (name === null || name === "") return nothing("the adapter names no base model");
  const withWeights = options.base !== false;
  try {
    if (!withWeights) return { base: null, shape: await adapterShape(name, options, path), notes: [] };
    const base = await fittedBase(name, options, path);
    return { base, shape: base, notes: [] };
  } catch (error) {
    const isThere = !(error instanceof NotFoundError || error instanceof NetworkError);
    if (isThere || options.model !== undefined) throw error;
    return nothing(`its base model ${name} could not be had`);
  }
}

function nothing(note: string): FoundBase {
  return { base: null, shape: null, notes: [note] };
}

async function fittedBase(name: string, options: UpdatesOptions, path: string): Promise<BaseModel> {
  const base = await openBase(name, { ...options, baseBits: options.baseBits ?? 32 });
  const classifier = await labelsOf(path, base);
  return classifier === null ? base : withClassifier(base, classifier);
}

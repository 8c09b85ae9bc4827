import { join } from "node:path";
import {
  knownType,
  ONNX_FILES,
  ONNX_FOLDER,
  ONNX_NAMES,
  type OnnxVariant,
} from "../../formats/transformers-js/layout.ts";
import type { BaseModel } from "../../models/base.ts";
import type { BackendSession, Tensors } from "../../runtime/backend.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { floats, longs, type Tensor } from "../../tensor/tensor.ts";
import { checkIds, outputsOf } from "./check.ts";

/** How far a graph is from the model. NaN where it gives NaN. */
export interface OnnxComparison {
  readonly maxDifference: number;
  /** Largest |output| of the model. */
  readonly largest: number;
}

function row(values: readonly number[]): Tensor {
  return longs(BigInt64Array.from(values, BigInt), [1, values.length]);
}

function ones(count: number): number[] {
  return new Array<number>(count).fill(1);
}

/** Logits [T·V] of a decoder: of the first half of the tokens, then of the others behind its cache. */
async function decoderOutputs(
  { config, source }: BaseModel,
  ids: readonly number[],
  session: BackendSession,
): Promise<Float32Array[]> {
  const { firstPosition } = knownType(source.hfConfig.model_type);
  const { layerCount, kvHeadCount, headDim } = config;
  const names = Array.from({ length: layerCount }, (_, i) => i).flatMap((i) =>
    (["key", "value"] as const).map(
      (kind) => [ONNX_NAMES.past(kind, i), ONNX_NAMES.present(kind, i)] as const,
    ),
  );
  const empty = floats(new Float32Array(0), [1, kvHeadCount, 0, headDim]);
  let cache: Tensors = Object.fromEntries(names.map(([past]) => [past, empty]));
  const half = Math.ceil(ids.length / 2);
  const logits: Float32Array[] = [];
  for (const [from, to] of [
    [0, half],
    [half, ids.length],
  ] as const) {
    if (from === to) continue;
    const outputs = await session.run({
      [ONNX_NAMES.ids]: row(ids.slice(from, to)),
      [ONNX_NAMES.mask]: row(ones(to)),
      [ONNX_NAMES.positions]: row(ids.slice(from, to).map((_, i) => from + i + firstPosition)),
      [ONNX_NAMES.logitsToKeep]: longs(BigInt64Array.of(0n), []),
      ...cache,
    });
    logits.push(outputs[ONNX_NAMES.logits]?.data as Float32Array);
    cache = Object.fromEntries(names.map(([past, present]) => [past, outputs[present] as Tensor]));
  }
  return logits;
}

/** Hidden states [T·d] of an encoder. */
async function encoderOutputs(
  { source }: BaseModel,
  ids: readonly number[],
  session: BackendSession,
): Promise<Float32Array[]> {
  const { hasTypes = false } = knownType(source.hfConfig.model_type);
  const types = hasTypes ? { [ONNX_NAMES.types]: row(ids.map(() => 0)) } : {};
  const feeds = { [ONNX_NAMES.ids]: row(ids), [ONNX_NAMES.mask]: row(ones(ids.length)), ...types };
  const outputs = await session.run(feeds, { fetch: [ONNX_NAMES.hidden] });
  return [outputs[ONNX_NAMES.hidden]?.data as Float32Array];
}

/** Runs a short text through a written graph, a decoder's in two steps, and through the model (in float32). */
export async function compareOnnx(
  base: BaseModel,
  folder: string,
  variant: OnnxVariant,
  contextLength: number,
  runtime: Runtime,
): Promise<OnnxComparison> {
  const ids = checkIds(base, contextLength);
  const kind = base.config.encoder ? "hidden" : "logits";
  const expected = await outputsOf(base, null, ids, runtime, kind);
  const session = await runtime.open(join(folder, ONNX_FOLDER, ONNX_FILES[variant]));
  try {
    const run = base.config.encoder ? encoderOutputs : decoderOutputs;
    const parts = await run(base, Array.from(ids), session);
    let [maxDifference, largest, at] = [0, 0, 0];
    for (const part of parts)
      for (const x of part) {
        const y = expected[at++] as number;
        maxDifference = Math.max(maxDifference, Math.abs(x - y));
        largest = Math.max(largest, Math.abs(y));
      }
    return { maxDifference: at === expected.length ? maxDifference : Number.NaN, largest };
  } finally {
    await session.close();
  }
}

import { join } from "node:path";
import { InputError, type Problem } from "../../errors.ts";
import { ownFiles, requireOwnFiles, writeFolder } from "../../formats/hf/save.ts";
import { writeModelTexts } from "../../formats/hf/save-files.ts";
import { exportedConfig, exportedTokenizer } from "../../formats/transformers-js/config.ts";
import {
  knownType,
  ONNX_FILES,
  ONNX_FOLDER,
  type OnnxVariant,
} from "../../formats/transformers-js/layout.ts";
import { topologicalOrder } from "../../graph/gradients.ts";
import { lower } from "../../graph/lower/lower.ts";
import { portableLowering } from "../../graph/lower/portable.ts";
import { serialize } from "../../graph/onnx.ts";
import type { BlockProducts } from "../../graph/ops/index.ts";
import { placing, type Value } from "../../graph/value.ts";
import { writeFileAtomic } from "../../io/disk.ts";
import type { OnProgress } from "../../io/progress.ts";
import { folderStorage } from "../../io/storage/disk-storage.ts";
import type { BaseModel } from "../base.ts";
import { frozenWeights } from "../base-context.ts";
import type { BaseBits } from "../weight-storage.ts";
import { planDataFiles, writeDataFiles } from "./data-files.ts";
import { decoderGraph } from "./decoder-graph.ts";
import { encoderGraph } from "./encoder-graph.ts";

/** What a precision is. */
interface VariantFacts {
  /** Bits of the matrices. */
  readonly bits: BaseBits;
  readonly products: BlockProducts;
}

const VARIANTS: Readonly<Record<OnnxVariant, VariantFacts>> = {
  fp32: { bits: 32, products: "float" },
  fp16: { bits: 32, products: "half" },
  q8: { bits: 8, products: "blocks" },
  q4: { bits: 4, products: "blocks" },
  q4f16: { bits: 4, products: "half" },
};

/** Every precision that can be written. */
export const ONNX_VARIANTS: readonly OnnxVariant[] = Object.keys(VARIANTS) as OnnxVariant[];

/** What transformers.js opens where nothing is said: fp32 in Node, q8 in a browser; and the small one for WebGPU. */
export const DEFAULT_VARIANTS: readonly OnnxVariant[] = ["fp32", "q8", "q4"];

/** How a model is written for transformers.js. */
export interface WriteOnnxOptions {
  /** Precisions, each a graph with its weights. */
  readonly variants: readonly OnnxVariant[];
  /** Positions of the graphs. */
  readonly contextLength: number;
  readonly onProgress?: OnProgress;
  readonly signal?: AbortSignal;
}

/** A precision that was written. */
export interface WrittenVariant {
  readonly variant: OnnxVariant;
  /** Of graph and weights. */
  readonly sizeBytes: number;
}

/** The model with its weights in so many bits. */
export type OpenInBits = (bits: BaseBits) => Promise<BaseModel>;

/** The graph of a model, in operators that every device has. */
function exportedGraph(
  base: BaseModel,
  products: BlockProducts,
  positionCount: number,
): Record<string, Value> {
  const lookup = frozenWeights(base.modules, base.weights, products);
  const model = { ...base, lookup, positionCount };
  const outputs = placing(() =>
    base.config.encoder ? encoderGraph(model, base.newWeights.length === 0) : decoderGraph(model),
  );
  return { ...lower(outputs, portableLowering).outputs };
}

async function writeVariant(
  folder: string,
  variant: OnnxVariant,
  base: BaseModel,
  { contextLength, onProgress, signal }: WriteOnnxOptions,
): Promise<{ readonly sizeBytes: number; readonly dataFiles: number }> {
  const outputs = exportedGraph(base, VARIANTS[variant].products, contextLength);
  const nodes = topologicalOrder(Object.values(outputs), (n) => (n.alias ? [n.alias] : n.inputs));
  const weights = nodes.filter((n) => n.source?.kind === "weight").map((n) => n.outputs[0] as Value);
  const data = planDataFiles(weights, ONNX_FILES[variant]);
  const { bytes } = serialize(outputs, data.locate);
  let doneBytes = 0;
  await writeDataFiles(data, folder, {
    weightFolder: base.weights.folder,
    ...(signal ? { signal } : {}),
    onBytes: (count) => {
      doneBytes += count;
      onProgress?.({ what: `writing ${ONNX_FILES[variant]}`, doneBytes, totalBytes: data.sizeBytes });
    },
  });
  await writeFileAtomic(join(folder, ONNX_FILES[variant]), bytes);
  return { sizeBytes: bytes.length + data.sizeBytes, dataFiles: data.files.length };
}

function refuse(problems: readonly Problem[]): void {
  if (problems.length > 0) throw new InputError("the model cannot be written as ONNX", problems);
}

/** @throws InputError for names that are none, or where there are none */
export function checkVariants(variants: readonly OnnxVariant[]): void {
  const where = "variants";
  const unknown = variants.filter((variant) => !Object.hasOwn(VARIANTS, variant));
  const known = ONNX_VARIANTS.join(", ");
  refuse([
    ...(variants.length === 0 ? [{ where, message: "expected at least one" }] : []),
    ...unknown.map((variant) => ({ where, message: `unknown "${variant}"; known: ${known}` })),
  ]);
}

/** @throws UnsupportedError, InputError, for what cannot be written */
async function checkModel({ config, source }: BaseModel, contextLength: number): Promise<void> {
  knownType(source.hfConfig.model_type);
  await requireOwnFiles(source);
  const { maxPositions } = config;
  const fits = Number.isInteger(contextLength) && contextLength >= 1 && contextLength <= maxPositions;
  const message = `expected a whole number from 1 to ${maxPositions}, got ${contextLength}`;
  refuse(fits ? [] : [{ where: "contextLength", message }]);
}

/** Writes a model as a folder that transformers.js opens: config.json, tokenizer, and for each precision a graph with its weights in
 *  files beside it. The folder appears complete or not at all.
 *  @throws InputError, UnsupportedError for what cannot be written; as `open`; LowrankError ("storage") */
export async function writeOnnxFolder(
  output: string,
  open: OpenInBits,
  options: WriteOnnxOptions,
): Promise<readonly WrittenVariant[]> {
  const written: WrittenVariant[] = [];
  const variants = [...new Set(options.variants)];
  const dataFiles = new Map<OnnxVariant, number>();
  checkVariants(variants);
  await writeFolder(output, async (folder) => {
    let base: BaseModel | null = null;
    for (const variant of variants) {
      base = await open(VARIANTS[variant].bits);
      await checkModel(base, options.contextLength);
      const one = await writeVariant(join(folder, ONNX_FOLDER), variant, base, options);
      written.push({ variant, sizeBytes: one.sizeBytes });
      dataFiles.set(variant, one.dataFiles);
    }
    const { source } = base as BaseModel;
    const config = exportedConfig(source.hfConfig, { dataFiles, positionCount: options.contextLength });
    const tokenizer = exportedTokenizer(source.tokenizer, options.contextLength);
    await writeModelTexts({ ...source, tokenizer }, folderStorage(folder), config, {
      from: ownFiles(source),
    });
  });
  return written;
}

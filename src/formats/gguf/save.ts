import { stat } from "node:fs/promises";
import { resolve } from "node:path";
import { InputError, ShapeError, UnsupportedError } from "../../errors.ts";
import type { OnProgress } from "../../io/progress.ts";
import { requireFinite } from "../../tensor/finite.ts";
import { type FloatTensor, floats } from "../../tensor/tensor.ts";
import type { GgufArchitecture } from "../architectures/architecture.ts";
import { ggufOf } from "../architectures/table.ts";
import { requireOwnFiles } from "../hf/save.ts";
import type { ModelConfig, ModelSource } from "../model.ts";
import { ggufOffset, ggufTensorName } from "../names.ts";
import { rotaryFrequencies } from "../rope.ts";
import { FILE_TYPES, type GgufFileType, type MixedWeight } from "./mixes.ts";
import { permutedHeads, rowsToGguf } from "./permute.ts";
import type { GgufTensorType } from "./quantize.ts";
import { tokenizerKeys } from "./tokenizer-keys.ts";
import { type GgufTyped, text, u32 } from "./values.ts";
import { type GgufInput, writeGguf } from "./write.ts";

export interface WriteModelGgufOptions {
  /** The weight to write under a path instead of the source's ([out, in]); null keeps the source's. Also asked for
   *  `head.weight` of a model whose head is tied to its embedding: a tensor unties it. */
  readonly override?: (path: string) => FloatTensor | null | Promise<FloatTensor | null>;
  /** Default "F32". Norms, biases and learned positions are always F32. */
  readonly type?: GgufFileType;
  readonly onProgress?: OnProgress;
  readonly signal?: AbortSignal;
}

type Override = NonNullable<WriteModelGgufOptions["override"]>;

const HEAD = "head.weight";
const EMBEDDING = "embed.weight";

/** A file that is to be written must have the extension by which it will be known, and not be there yet.
 *  @throws InputError if it is otherwise. */
export async function requireNewGguf(output: string): Promise<void> {
  const isThere = (await stat(output).catch(() => null)) !== null;
  const isNamed = /\.gguf$/i.test(output);
  if (isNamed && !isThere) return;
  const message = isNamed ? "is there already" : "expected a file that ends in .gguf";
  throw new InputError("The GGUF file cannot be written:", [{ where: output, message }]);
}

/** Type of one weight. Vectors and positions stay F32; of others their kind of file decides. */
function typeOf(wanted: GgufFileType, weight: MixedWeight, path: string): GgufTensorType {
  if (weight.shape.length < 2 || path.startsWith("positions.")) return "F32";
  return FILE_TYPES[wanted].typeOf(weight);
}

function inLlamaCppOrder(tensor: FloatTensor, heads: number | null): Float32Array {
  if (heads === null) return tensor.data;
  const { data, shape } = tensor;
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return new Float32Array(rowsToGguf(bytes, shape[0] as number, heads).buffer as ArrayBuffer);
}

interface WeightToWrite {
  readonly path: string;
  readonly shape: readonly number[];
  readonly read: () => Promise<FloatTensor>;
}

function weightInput(weight: WeightToWrite, config: ModelConfig, wanted: GgufFileType): GgufInput {
  const { path, shape, read } = weight;
  const offset = ggufOffset(config.family, path);
  const heads = ggufOf(config.family).permuted ? permutedHeads(config, path) : null;
  const name = ggufTensorName(config.family, path);
  const isOutput = path === HEAD || (config.tiedEmbeddings && path === EMBEDDING);
  return {
    name,
    shape,
    type: typeOf(wanted, { name, shape, isOutput, config }, path),
    data: async () => {
      const ordered = inLlamaCppOrder(await read(), heads);
      return offset === 0 ? ordered : ordered.map((x) => x + offset);
    },
  };
}

/** The source's weights, each replaced where `override` has another; and the head of a tied model where it has one. */
async function weightsOf(source: ModelSource, override: Override): Promise<WeightToWrite[]> {
  const weights = source.weights.map(({ path, shape, read }): WeightToWrite => {
    const load = async (): Promise<FloatTensor> => {
      const replaced = await override(path);
      if (replaced && String(replaced.shape) !== String(shape))
        throw new ShapeError(`${path}: expected shape [${shape}], got [${replaced.shape}]`);
      return replaced ? requireFinite("the weight to write", path, replaced) : await read();
    };
    return { path, shape, read: load };
  });
  const head = source.config.tiedEmbeddings ? await override(HEAD) : null;
  if (head)
    weights.push({
      path: HEAD,
      shape: head.shape,
      read: async () => requireFinite("the weight to write", HEAD, head),
    });
  return weights;
}

/** Llama 3.1's rope scaling as llama.cpp takes it: what each frequency is divided by, [headDim / 2]. */
function ropeTensors({ rope, headDim }: ModelConfig): GgufInput[] {
  if (rope === null || rope.scaling.kind !== "llama3") return [];
  const plain = rotaryFrequencies({ ...rope, scaling: { kind: "none" } }, headDim);
  const scaled = rotaryFrequencies(rope, headDim);
  const { data, shape } = floats(
    Float32Array.from(plain, (f, i) => f / (scaled[i] as number)),
    [headDim / 2],
  );
  return [{ name: "rope_freqs.weight", shape, type: "F32", data }];
}

function architectureKeys(gguf: GgufArchitecture, config: ModelConfig): [string, GgufTyped][] {
  if (gguf.keysOf === undefined)
    throw new UnsupportedError(`${config.family} models cannot be written as GGUF yet`);
  return Object.entries(gguf.keysOf(config)).map(([key, value]) => [`${gguf.name}.${key}`, value]);
}

function keysOf(source: ModelSource, type: GgufFileType): Map<string, GgufTyped> {
  const { config } = source;
  const gguf = ggufOf(config.family);
  const name = source.name
    .replace(/[\\/]+$/, "")
    .replace(/^.*[\\/]/, "")
    .replace(/\.gguf$/i, "");
  return new Map([
    ["general.architecture", text(gguf.name)],
    ["general.type", text("model")],
    ["general.name", text(name)],
    ["general.file_type", u32(FILE_TYPES[type].id)],
    ...(FILE_TYPES[type].isQuantized
      ? [["general.quantization_version", u32(2)] as [string, GgufTyped]]
      : []),
    ...architectureKeys(gguf, config),
    ...tokenizerKeys(source),
  ]);
}

/** Writes a model as one GGUF file that llama.cpp loads: configuration, weights (Q and K of the llama family in its order),
 *  tokenizer and chat template. Weights are read, replaced and written one at a time; the file appears complete or not at all.
 *  @throws InputError if the file is there already or F16 cannot hold a weight; UnsupportedError for architectures,
 *  activations and tokenizers that llama.cpp does not have; ShapeError if a replaced weight has another shape; FormatError if
 *  a weight is not finite; LowrankError ("storage") if the disk does not take it. */
export async function writeModelGguf(
  file: string,
  source: ModelSource,
  options: WriteModelGgufOptions = {},
): Promise<void> {
  const path = resolve(file);
  const { type = "F32", override = () => null, onProgress, signal } = options;
  await requireNewGguf(path);
  await requireOwnFiles(source);
  const keys = keysOf(source, type);
  const weights = await weightsOf(source, override);
  const tied = source.config.tiedEmbeddings && !weights.some((w) => w.path === HEAD);
  const config = { ...source.config, tiedEmbeddings: tied };
  const tensors = [...ropeTensors(config), ...weights.map((w) => weightInput(w, config, type))];
  await writeGguf(path, keys, tensors, {
    ...(onProgress ? { onProgress } : {}),
    ...(signal ? { signal } : {}),
  });
}

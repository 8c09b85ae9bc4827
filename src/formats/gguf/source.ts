import { InputError, type Problem } from "../../errors.ts";
import { fingerprintOf } from "../../io/fingerprint-of.ts";
import type { RandomAccessFile } from "../../io/storage/storage.ts";
import { requireFinite } from "../../tensor/finite.ts";
import { type FloatTensor, floats } from "../../tensor/tensor.ts";
import { ggufArchitecture } from "../architectures/table.ts";
import { parseHfConfig } from "../hf/config.ts";
import { stopIds } from "../hf/stop-ids.ts";
import type { ModelConfig, ModelSource, WeightEntry } from "../model.ts";
import { ggufOffset, ggufTensorName, pathOfGgufTensor } from "../names.ts";
import { rebuildHfConfig } from "./config.ts";
import { type GgufEntry, type GgufFile, type GgufValue, ggufOf } from "./file.ts";
import { permutedHeads, rowsFromGguf } from "./permute.ts";
import { dequantize, READABLE_TYPES } from "./quants.ts";
import { rebuildTokenizer } from "./tokenizer.ts";
import { tokenIdOf } from "./vocabulary.ts";

/** Read with the configuration, not a weight. */
const ROPE_FREQS = "rope_freqs.weight";

/** Items of an array that `metadata` keeps. */
const METADATA_ITEMS = 8;

function weightEntry(
  gguf: GgufFile,
  path: string,
  entry: GgufEntry,
  heads: number | null,
  offset: number,
): WeightEntry {
  const { name, shape, type, sizeBytes } = entry;
  const read = async (): Promise<FloatTensor> => {
    const bytes = await gguf.readBytes(name);
    const ordered = heads === null ? bytes : rowsFromGguf(bytes, shape[0] as number, heads);
    const stored = dequantize(type, ordered);
    const data = offset === 0 ? stored : stored.map((x) => x - offset);
    return requireFinite(gguf.path, name, floats(data, shape));
  };
  return { path, name, shape, storage: type, sizeBytes, read };
}

/** The tensors under our paths. @throws InputError listing those that have none, or a type that is not read. */
function weightsOf(gguf: GgufFile, config: ModelConfig): WeightEntry[] {
  const problems: Problem[] = [];
  const weights: WeightEntry[] = [];
  const { permuted } = ggufArchitecture(gguf.path, gguf.values.get("general.architecture")).gguf;
  for (const entry of gguf.entries.values()) {
    const { name, type } = entry;
    if (name === ROPE_FREQS) continue;
    const path = pathOfGgufTensor(config.family, name);
    const problem = (message: string): unknown => problems.push({ where: name, message });
    if (!READABLE_TYPES.includes(type)) problem(`is ${type}, readable are ${READABLE_TYPES.join(", ")}`);
    if (path === null) problem(`is not a weight of a ${config.family} model`);
    else {
      const heads = permuted ? permutedHeads(config, path) : null;
      weights.push(weightEntry(gguf, path, entry, heads, ggufOffset(config.family, path)));
    }
  }
  if (problems.length > 0) throw new InputError(`${gguf.path}: the tensors do not fit the keys:`, problems);
  return weights;
}

function abbreviated(value: GgufValue): unknown {
  if (typeof value === "bigint") return String(value);
  if (!Array.isArray(value) || value.length <= METADATA_ITEMS) return value;
  return [...value.slice(0, METADATA_ITEMS), `… ${value.length - METADATA_ITEMS} more`];
}

async function sourceOf(gguf: GgufFile, name: string): Promise<ModelSource> {
  const hfConfig = await rebuildHfConfig(gguf);
  const config = parseHfConfig(hfConfig, gguf.path);
  const weights = weightsOf(gguf, config);
  const tokenizer = rebuildTokenizer(gguf);
  const ids = ["eos", "eot", "eom"].map((kind) => tokenIdOf(gguf, kind, config.vocabSize));
  return {
    name,
    kind: "gguf",
    path: gguf.path,
    config,
    hfConfig,
    weights,
    nameOf: (path) => ggufTensorName(config.family, path),
    tokenizer,
    eosIds: stopIds(ids, tokenizer),
    fingerprint: (hashOf) => fingerprintOf([gguf], [hfConfig], hashOf),
    metadata: Object.fromEntries([...gguf.values].map(([key, value]) => [key, abbreviated(value)])),
    close: gguf.close,
  };
}

/** Takes an open .gguf model file. Weights come in transformers' order (Q and K of the llama family un-permuted), the
 *  configuration and the tokenizer are rebuilt from the keys.
 *  @throws FormatError; UnsupportedError for unknown architectures and tokenizers; InputError listing every
 *  key or tensor at fault. */
export async function openGgufSource(file: RandomAccessFile, name: string = file.path): Promise<ModelSource> {
  const gguf = await ggufOf(file);
  try {
    return await sourceOf(gguf, name);
  } catch (error) {
    await gguf.close();
    throw error;
  }
}

import type { HfConfig } from "../architectures/architecture.ts";
import { ggufArchitecture } from "../architectures/table.ts";
import { type Fields, fields } from "../fields.ts";
import type { GgufFile } from "./file.ts";
import { tokenIdOf } from "./vocabulary.ts";

/** Rows of the embedding: the vocabulary, padding included. */
function vocabSizeOf(gguf: GgufFile, keys: Fields): number {
  const size = gguf.entries.get("token_embd.weight")?.shape[0];
  if (size === undefined) keys.problem("token_embd.weight", "is missing, expected the embedding");
  return size ?? 1;
}

/** The config.json that transformers would have for a GGUF model.
 *  @throws UnsupportedError for an unknown architecture; InputError naming every missing or wrong key. */
export async function rebuildHfConfig(gguf: GgufFile): Promise<HfConfig> {
  const architecture = ggufArchitecture(gguf.path, gguf.values.get("general.architecture"));
  const keys = fields(gguf.path, gguf.values);
  const vocabSize = vocabSizeOf(gguf, keys);
  const config = {
    architectures: [architecture.name],
    bos_token_id: tokenIdOf(gguf, "bos", vocabSize),
    eos_token_id: tokenIdOf(gguf, "eos", vocabSize),
    ...(await architecture.gguf.configOf(gguf, keys, architecture.gguf.name)),
    model_type: architecture.modelType,
    pad_token_id: tokenIdOf(gguf, "padding", vocabSize),
    tie_word_embeddings: !gguf.entries.has("output.weight"),
    torch_dtype: "float32",
    vocab_size: vocabSize,
  };
  keys.finish();
  return config;
}

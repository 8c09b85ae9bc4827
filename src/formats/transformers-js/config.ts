import type { HfConfig } from "../architectures/architecture.ts";
import type { TokenizerSource } from "../model.ts";
import { ONNX_FILES, type OnnxVariant } from "./layout.ts";

/** What the files of an exported model are. */
export interface ExportedFiles {
  /** How many files of weights each precision has. */
  readonly dataFiles: ReadonlyMap<OnnxVariant, number>;
  /** Positions that the graphs have. */
  readonly positionCount: number;
}

/** Precisions that are opened where none is asked for, where the library's own choice (fp32; q8 in WebAssembly) is not there. */
function defaultPrecisions(variants: readonly OnnxVariant[]): Record<string, unknown> {
  const [first] = variants;
  const fallback = variants.includes("fp32") ? {} : { dtype: first };
  const wasm = variants.includes("q8") ? "q8" : (fallback.dtype ?? "fp32");
  const isOwn = wasm === (fallback.dtype ?? "q8");
  return { ...fallback, ...(isOwn ? {} : { device_config: { wasm: { dtype: wasm } } }) };
}

/** The config.json of a model for transformers.js: how many files of weights there are, and which precision is opened. */
export function exportedConfig(hfConfig: HfConfig, { dataFiles, positionCount }: ExportedFiles): HfConfig {
  const { torch_dtype: _old, dtype: _new, ...config } = hfConfig;
  const format = Object.fromEntries([...dataFiles].map(([variant, count]) => [ONNX_FILES[variant], count]));
  const own = { use_external_data_format: format, ...defaultPrecisions([...dataFiles.keys()]) };
  const positions = "n_positions" in config ? { n_positions: positionCount } : {};
  return {
    ...config,
    ...positions,
    ...("max_position_embeddings" in config ? { max_position_embeddings: positionCount } : {}),
    "transformers.js_config": own,
  };
}

/** The tokenizer of such a model: with the chat template in tokenizer_config.json, where it is looked for, and texts that are cut where
 *  the graphs end. */
export function exportedTokenizer(tokenizer: TokenizerSource, maxTokens: number): TokenizerSource {
  const { chatTemplate, tokenizerConfig } = tokenizer;
  const template = chatTemplate === null ? {} : { chat_template: chatTemplate };
  return { ...tokenizer, tokenizerConfig: { ...tokenizerConfig, ...template, model_max_length: maxTokens } };
}

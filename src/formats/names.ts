import { UnsupportedError } from "../errors.ts";

/** One module of a model by its three names; `{i}` stands for the layer. */
interface NameRow {
  readonly ours: string;
  /** Module path in transformers, as PEFT sees it. */
  readonly hf: string;
  readonly gguf: string;
  /** Stored as Conv1D in transformers: [in, out] instead of [out, in]. */
  readonly transposed?: true;
}

/** A naming scheme, shared by the families that use it. */
interface Layout {
  readonly rows: readonly NameRow[];
  /** Prefix of the base model inside the language model; checkpoints of the bare base model lack it. */
  readonly basePrefix: string;
  /** Buffers that old checkpoints carry and no model needs. */
  readonly ignored: RegExp;
}

const llamaLayout: Layout = {
  basePrefix: "model.",
  ignored: /(^|\.)rotary_emb\.inv_freq$/,
  rows: [
    { ours: "embed", hf: "model.embed_tokens", gguf: "token_embd" },
    { ours: "layers.{i}.attention_norm", hf: "model.layers.{i}.input_layernorm", gguf: "blk.{i}.attn_norm" },
    { ours: "layers.{i}.attention.q", hf: "model.layers.{i}.self_attn.q_proj", gguf: "blk.{i}.attn_q" },
    { ours: "layers.{i}.attention.k", hf: "model.layers.{i}.self_attn.k_proj", gguf: "blk.{i}.attn_k" },
    { ours: "layers.{i}.attention.v", hf: "model.layers.{i}.self_attn.v_proj", gguf: "blk.{i}.attn_v" },
    { ours: "layers.{i}.attention.o", hf: "model.layers.{i}.self_attn.o_proj", gguf: "blk.{i}.attn_output" },
    {
      ours: "layers.{i}.attention.q_norm",
      hf: "model.layers.{i}.self_attn.q_norm",
      gguf: "blk.{i}.attn_q_norm",
    },
    {
      ours: "layers.{i}.attention.k_norm",
      hf: "model.layers.{i}.self_attn.k_norm",
      gguf: "blk.{i}.attn_k_norm",
    },
    {
      ours: "layers.{i}.mlp_norm",
      hf: "model.layers.{i}.post_attention_layernorm",
      gguf: "blk.{i}.ffn_norm",
    },
    { ours: "layers.{i}.mlp.gate", hf: "model.layers.{i}.mlp.gate_proj", gguf: "blk.{i}.ffn_gate" },
    { ours: "layers.{i}.mlp.up", hf: "model.layers.{i}.mlp.up_proj", gguf: "blk.{i}.ffn_up" },
    { ours: "layers.{i}.mlp.down", hf: "model.layers.{i}.mlp.down_proj", gguf: "blk.{i}.ffn_down" },
    { ours: "final_norm", hf: "model.norm", gguf: "output_norm" },
    { ours: "head", hf: "lm_head", gguf: "output" },
  ],
};

const gpt2Layout: Layout = {
  basePrefix: "transformer.",
  ignored: /(^|\.)attn\.(bias|masked_bias)$/,
  rows: [
    { ours: "embed", hf: "transformer.wte", gguf: "token_embd" },
    { ours: "positions", hf: "transformer.wpe", gguf: "position_embd" },
    { ours: "layers.{i}.attention_norm", hf: "transformer.h.{i}.ln_1", gguf: "blk.{i}.attn_norm" },
    {
      ours: "layers.{i}.attention.qkv",
      hf: "transformer.h.{i}.attn.c_attn",
      gguf: "blk.{i}.attn_qkv",
      transposed: true,
    },
    {
      ours: "layers.{i}.attention.o",
      hf: "transformer.h.{i}.attn.c_proj",
      gguf: "blk.{i}.attn_output",
      transposed: true,
    },
    { ours: "layers.{i}.mlp_norm", hf: "transformer.h.{i}.ln_2", gguf: "blk.{i}.ffn_norm" },
    { ours: "layers.{i}.mlp.up", hf: "transformer.h.{i}.mlp.c_fc", gguf: "blk.{i}.ffn_up", transposed: true },
    {
      ours: "layers.{i}.mlp.down",
      hf: "transformer.h.{i}.mlp.c_proj",
      gguf: "blk.{i}.ffn_down",
      transposed: true,
    },
    { ours: "final_norm", hf: "transformer.ln_f", gguf: "output_norm" },
    { ours: "head", hf: "lm_head", gguf: "output" },
  ],
};

/** Which naming scheme a family uses: a new family is one line, or one layout. */
const LAYOUTS: Readonly<Record<string, Layout>> = {
  llama: llamaLayout,
  qwen2: llamaLayout,
  qwen3: llamaLayout,
  gpt2: gpt2Layout,
};

type Side = "ours" | "hf" | "gguf";

function layoutOf(family: string): Layout {
  const layout = Object.hasOwn(LAYOUTS, family) ? LAYOUTS[family] : undefined;
  if (layout) return layout;
  throw new UnsupportedError(
    `no tensor names are known for the model family "${family}"; known: ${Object.keys(LAYOUTS).join(", ")}`,
  );
}

const LAYER_INDEX = /(?<=\.)(?:0|[1-9]\d{0,5})(?=\.)/;

/** Row and layer index of a module name on one side, or null. */
function findRow(layout: Layout, side: Side, module: string): { row: NameRow; index: string } | null {
  const index = LAYER_INDEX.exec(module)?.[0] ?? "";
  const template = index === "" ? module : module.replace(LAYER_INDEX, "{i}");
  const row = layout.rows.find((r) => r[side] === template && template.includes("{i}") === (index !== ""));
  return row ? { row, index } : null;
}

function translate(layout: Layout, from: Side, to: Side, module: string): string | null {
  const found = findRow(layout, from, module);
  return found ? found.row[to].replace("{i}", found.index) : null;
}

/** Splits `….weight` or `….bias` into module and suffix; null for other names. */
function splitTensor(name: string): { module: string; suffix: string } | null {
  const match = /^(.+)\.(weight|bias)$/.exec(name);
  return match ? { module: match[1] as string, suffix: match[2] as string } : null;
}

function translateTensor(layout: Layout, from: Side, to: Side, name: string): string | null {
  const parts = splitTensor(name);
  const module = parts && translate(layout, from, to, parts.module);
  return module && parts ? `${module}.${parts.suffix}` : null;
}

function known(name: string | null, family: string, path: string): string {
  if (name !== null) return name;
  throw new UnsupportedError(`"${path}" is not a path of a ${family} model`);
}

/** With the base model's prefix, which checkpoints of the bare base model leave out. */
function withPrefix(layout: Layout, name: string): string {
  return name.startsWith(layout.basePrefix) || /^lm_head(\.|$)/.test(name) ? name : layout.basePrefix + name;
}

/** Our module path → the module in transformers, as PEFT names it: `layers.0.attention.q` →
 *  `model.layers.0.self_attn.q_proj`. @throws UnsupportedError for an unknown family or path. */
export function hfModuleName(family: string, path: string): string {
  return known(translate(layoutOf(family), "ours", "hf", path), family, path);
}

/** Our tensor path → the tensor in a transformers checkpoint: `head.weight` → `lm_head.weight`.
 *  @throws UnsupportedError for an unknown family or path. */
export function hfTensorName(family: string, path: string): string {
  return known(translateTensor(layoutOf(family), "ours", "hf", path), family, path);
}

/** Our tensor path → the tensor in a GGUF file: `layers.0.mlp.up.weight` → `blk.0.ffn_up.weight`.
 *  @throws UnsupportedError for an unknown family or path. */
export function ggufTensorName(family: string, path: string): string {
  return known(translateTensor(layoutOf(family), "ours", "gguf", path), family, path);
}

/** Tensor of a transformers checkpoint, with or without the base model's prefix → our path; null if there is none.
 *  @throws UnsupportedError for an unknown family. */
export function pathOfHfTensor(family: string, name: string): string | null {
  const layout = layoutOf(family);
  if (layout.ignored.test(name)) return null;
  return translateTensor(layout, "hf", "ours", withPrefix(layout, name));
}

/** Module in transformers, with or without the base model's prefix → our module path; null if there is none.
 *  @throws UnsupportedError for an unknown family. */
export function pathOfHfModule(family: string, module: string): string | null {
  const layout = layoutOf(family);
  return translate(layout, "hf", "ours", withPrefix(layout, module));
}

/** Tensor of a GGUF file → our path; null if there is none. @throws UnsupportedError for an unknown family. */
export function pathOfGgufTensor(family: string, name: string): string | null {
  return translateTensor(layoutOf(family), "gguf", "ours", name);
}

/** The tensor is a buffer that checkpoints may carry and loading leaves out (causal masks, rotary frequencies). */
export function isIgnoredHfTensor(family: string, name: string): boolean {
  return layoutOf(family).ignored.test(name);
}

/** transformers stores this weight as [in, out] (GPT-2's Conv1D). `path` is a module or its weight; a bias never is.
 *  @throws UnsupportedError for an unknown family. */
export function isTransposed(family: string, path: string): boolean {
  const module = path.replace(/\.weight$/, "");
  return findRow(layoutOf(family), "ours", module)?.row.transposed ?? false;
}

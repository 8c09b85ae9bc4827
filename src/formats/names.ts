import { UnsupportedError } from "../errors.ts";
import type { NameRow, Naming } from "./architectures/architecture.ts";
import { namesOf } from "./architectures/table.ts";

type Side = "ours" | "hf" | "gguf";

const LAYER_INDEX = /(?<=\.)(?:0|[1-9]\d{0,5})(?=\.)/;

/** Row and layer index of a module name on one side, or null. */
function findRow(names: Naming, side: Side, module: string): { row: NameRow; index: string } | null {
  const index = LAYER_INDEX.exec(module)?.[0] ?? "";
  const template = index === "" ? module : module.replace(LAYER_INDEX, "{i}");
  const row = names.rows.find((r) => r[side] === template && template.includes("{i}") === (index !== ""));
  return row ? { row, index } : null;
}

function translate(names: Naming, from: Side, to: Side, module: string): string | null {
  const found = findRow(names, from, module);
  return found?.row[to]?.replace("{i}", found.index) ?? null;
}

/** Splits `….weight` or `….bias` into module and suffix; null for other names. */
function splitTensor(name: string): { module: string; suffix: string } | null {
  const match = /^(.+)\.(weight|bias)$/.exec(name);
  return match ? { module: match[1] as string, suffix: match[2] as string } : null;
}

function translateTensor(names: Naming, from: Side, to: Side, name: string): string | null {
  const parts = splitTensor(name);
  const module = parts && translate(names, from, to, parts.module);
  return module && parts ? `${module}.${parts.suffix}` : null;
}

function known(name: string | null, family: string, path: string): string {
  if (name !== null) return name;
  throw new UnsupportedError(`"${path}" is not a path of a ${family} model`);
}

/** Heads stand beside the base model. */
const HEAD = /^(lm_head|classifier)(\.|$)/;

/** With the base model's prefix, which checkpoints of the bare base model leave out. */
function withPrefix(names: Naming, name: string): string {
  return name.startsWith(names.basePrefix) || HEAD.test(name) ? name : names.basePrefix + name;
}

/** Our module path → the module in transformers, as PEFT names it: `layers.0.attention.q` →
 *  `model.layers.0.self_attn.q_proj`. @throws UnsupportedError for an unknown family or path. */
export function hfModuleName(family: string, path: string): string {
  return known(translate(namesOf(family), "ours", "hf", path), family, path);
}

/** Our tensor path → the tensor in a transformers checkpoint: `head.weight` → `lm_head.weight`.
 *  @throws UnsupportedError for an unknown family or path. */
export function hfTensorName(family: string, path: string): string {
  return known(translateTensor(namesOf(family), "ours", "hf", path), family, path);
}

/** Our tensor path → the tensor in a GGUF file: `layers.0.mlp.up.weight` → `blk.0.ffn_up.weight`.
 *  @throws UnsupportedError for an unknown family or path. */
export function ggufTensorName(family: string, path: string): string {
  return known(translateTensor(namesOf(family), "ours", "gguf", path), family, path);
}

/** Tensor of a transformers checkpoint, with or without the base model's prefix → our path; null if there is none.
 *  @throws UnsupportedError for an unknown family. */
export function pathOfHfTensor(family: string, name: string): string | null {
  const names = namesOf(family);
  if (names.ignored.test(name)) return null;
  const modern = name.replace(/\.gamma$/, ".weight").replace(/\.beta$/, ".bias"); // norms in TensorFlow's words
  return translateTensor(names, "hf", "ours", withPrefix(names, modern));
}

/** Module in transformers, with or without the base model's prefix → our module path; null if there is none.
 *  @throws UnsupportedError for an unknown family. */
export function pathOfHfModule(family: string, module: string): string | null {
  const names = namesOf(family);
  return translate(names, "hf", "ours", withPrefix(names, module));
}

/** Tensor of a GGUF file → our path; null if there is none. @throws UnsupportedError for an unknown family. */
export function pathOfGgufTensor(family: string, name: string): string | null {
  return translateTensor(namesOf(family), "gguf", "ours", name);
}

/** The tensor is a buffer that checkpoints may carry and loading leaves out (causal masks, rotary frequencies). */
export function isIgnoredHfTensor(family: string, name: string): boolean {
  return namesOf(family).ignored.test(name);
}

/** transformers stores this weight as [in, out] (GPT-2's Conv1D). `path` is a module or its weight; a bias never is.
 *  @throws UnsupportedError for an unknown family. */
export function isTransposed(family: string, path: string): boolean {
  const module = path.replace(/\.weight$/, "");
  return findRow(namesOf(family), "ours", module)?.row.transposed ?? false;
}

/** What GGUF files add to this weight; 0 for most. @throws UnsupportedError for an unknown family. */
export function ggufOffset(family: string, path: string): number {
  const module = path.replace(/\.weight$/, "");
  return findRow(namesOf(family), "ours", module)?.row.ggufOffset ?? 0;
}

import type { Fields } from "./fields.ts";
import type { RopeConfig } from "./model-source.ts";

/** transformers' base frequency where a config gives none. */
const DEFAULT_THETA = 10_000;

/** Known rope types: name in transformers → how it stretches positions. One line each. */
const SCALINGS: Readonly<Record<string, (rope: Fields, maxPositions: number) => RopeConfig["scaling"]>> = {
  default: () => ({ kind: "none" }),
  linear: (rope) => ({ kind: "linear", factor: rope.positive("factor") }),
  llama3: (rope, maxPositions) => ({
    kind: "llama3",
    factor: rope.positive("factor"),
    lowFreqFactor: rope.positive("low_freq_factor"),
    highFreqFactor: rope.positive("high_freq_factor"),
    originalMaxPositions: rope.count("original_max_position_embeddings", maxPositions),
  }),
};

function scalingOf(rope: Fields, maxPositions: number): RopeConfig["scaling"] {
  const typeKey =
    rope.raw("rope_type") === undefined && rope.raw("type") !== undefined ? "type" : "rope_type";
  const type = rope.text(typeKey, "default");
  const scaling = Object.hasOwn(SCALINGS, type) ? SCALINGS[type] : undefined;
  if (scaling) return scaling(rope, maxPositions);
  rope.problem(typeKey, `rope type "${type}" is not supported, known: ${Object.keys(SCALINGS).join(", ")}`);
  return { kind: "none" };
}

/** Rotary embedding of a config.json: `rope_parameters` (transformers 5) or `rope_theta` and `rope_scaling` (4).
 *  Problems are collected in `config`. */
export function ropeOf(config: Fields, maxPositions: number): RopeConfig {
  const key = config.raw("rope_parameters") === undefined ? "rope_scaling" : "rope_parameters";
  const rope = config.section(key);
  const theta =
    rope?.raw("rope_theta") === undefined
      ? config.positive("rope_theta", DEFAULT_THETA)
      : rope.positive("rope_theta");
  for (const holder of rope ? [config, rope] : [config])
    if ((holder.raw("partial_rotary_factor") ?? 1) !== 1)
      holder.problem(
        "partial_rotary_factor",
        "rotating only a part of each head is not supported, expected 1",
      );
  return { theta, scaling: rope ? scalingOf(rope, maxPositions) : { kind: "none" } };
}

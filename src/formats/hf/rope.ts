import type { Fields } from "../fields.ts";
import type { RopeConfig } from "../model.ts";

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

/** Phi-3's scaling for 128k tokens, and its older name. */
const LENGTH_DEPENDENT: ReadonlySet<string> = new Set(["longrope", "su"]);

function scalingOf(rope: Fields, maxPositions: number): RopeConfig["scaling"] {
  const typeKey =
    rope.raw("rope_type") === undefined && rope.raw("type") !== undefined ? "type" : "rope_type";
  const type = rope.text(typeKey, "default");
  const scaling = Object.hasOwn(SCALINGS, type) ? SCALINGS[type] : undefined;
  if (scaling) return scaling(rope, maxPositions);
  const hint = LENGTH_DEPENDENT.has(type)
    ? "; its frequencies change with the length of the text: the variant of the model for 4k tokens has none"
    : "";
  rope.problem(
    typeKey,
    `rope type "${type}" is not supported, known: ${Object.keys(SCALINGS).join(", ")}${hint}`,
  );
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
  checkWhole(rope ? [config, rope] : [config]);
  return { theta, scaling: rope ? scalingOf(rope, maxPositions) : { kind: "none" } };
}

function checkWhole(holders: readonly Fields[]): void {
  for (const holder of holders)
    if ((holder.raw("partial_rotary_factor") ?? 1) !== 1)
      holder.problem(
        "partial_rotary_factor",
        "rotating only a part of each head is not supported, expected 1",
      );
}

function ropeIn(section: Fields | null, maxPositions: number, theta: number): RopeConfig {
  if (section) checkWhole([section]);
  return {
    theta: section?.raw("rope_theta") === undefined ? theta : section.positive("rope_theta"),
    scaling: section ? scalingOf(section, maxPositions) : { kind: "none" },
  };
}

/** Rotary embedding of the global layers, where layers differ: `rope_parameters.full_attention` (transformers 5), or
 *  `rope_theta`, `theta` without it, and `rope_scaling` (4). Problems are collected in `config`. */
export function globalRopeOf(config: Fields, maxPositions: number, theta: number): RopeConfig {
  const byType = config.section("rope_parameters");
  if (byType) return ropeIn(byType.section("full_attention"), maxPositions, theta);
  return ropeIn(config.section("rope_scaling"), maxPositions, config.positive("rope_theta", theta));
}

/** Rotary embedding of the local layers, those with a sliding window: `rope_parameters.sliding_attention` (transformers 5),
 *  or `rope_local_base_freq`, `theta` without it (4). Problems are collected in `config`. */
export function localRopeOf(config: Fields, maxPositions: number, theta: number): RopeConfig {
  const byType = config.section("rope_parameters");
  if (byType) return ropeIn(byType.section("sliding_attention"), maxPositions, theta);
  return ropeIn(null, maxPositions, config.positive("rope_local_base_freq", theta));
}

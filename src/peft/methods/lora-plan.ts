import { InputError } from "../../errors.ts";
import { hfModuleName } from "../../formats/names.ts";
import type { LoraConfig } from "../../formats/peft/config.ts";
import {
  alphaOf,
  isAddedByPeft,
  isSavedModule,
  type ModuleInfo,
  matchTargets,
  rankOf,
  scalingOf,
} from "../../formats/peft/targets.ts";
import type { ModuleSpec } from "../../models/family.ts";

/** A module that LoRA adapts. */
export interface LoraModule {
  /** This project's path, `layers.0.attention.q`. */
  readonly path: string;
  /** Hugging Face's, `model.layers.0.self_attn.q_proj`. */
  readonly name: string;
  readonly kind: "linear" | "embedding";
  /** Input features; the vocabulary for an embedding. */
  readonly inSize: number;
  readonly outSize: number;
  /** Path of the weight, which for a tied output layer is the embedding's. */
  readonly weight: string;
  readonly rank: number;
  readonly alpha: number;
  /** alpha/rank, or alpha/√rank with rsLoRA. */
  readonly scaling: number;
  /** B has a bias of its own. */
  readonly hasBias: boolean;
}

/** What a configuration adapts in a model. */
export interface LoraPlan {
  readonly modules: readonly LoraModule[];
  /** Modules trained whole. */
  readonly saved: readonly ModuleSpec[];
  /** Paths of trained biases, `layers.0.attention.q.bias`. */
  readonly biases: readonly string[];
  /** Magnitudes are trained apart (DoRA). */
  readonly dora: boolean;
}

function describe(family: string, m: ModuleSpec): ModuleInfo {
  return {
    name: hfModuleName(family, m.path),
    isLinear: m.kind === "linear",
    isOutput: m.kind === "linear" && m.isOutput === true,
    isEmbedding: m.kind === "embedding",
  };
}

function adapt(family: string, config: LoraConfig, m: ModuleSpec): LoraModule[] {
  if (m.kind === "norm") return [];
  const name = hfModuleName(family, m.path);
  const sizes =
    m.kind === "linear" ? { inSize: m.inSize, outSize: m.outSize } : { inSize: m.count, outSize: m.size };
  const [rank, alpha] = [rankOf(config, name), alphaOf(config, name)];
  const weight = `${(m.kind === "linear" && m.tiedTo) || m.path}.weight`;
  const scaling = scalingOf(config, name);
  const hasBias = config.loraBias;
  return [{ path: m.path, name, kind: m.kind, ...sizes, weight, rank, alpha, scaling, hasBias }];
}

/** Resolves a configuration against a model's modules.
 *  @throws InputError listing targets that match nothing, excluded or saved modules without effect, ranks out of range. */
export function planLora(config: LoraConfig, family: string, modules: readonly ModuleSpec[]): LoraPlan {
  const infos = modules.map((m) => describe(family, m));
  const { matched, problems } = matchTargets(infos, config);
  const unknownSaved = config.modulesToSave
    .filter((s) => !isAddedByPeft(config, s))
    .filter((s) => !infos.some((m) => isSavedModule({ ...config, modulesToSave: [s] }, m.name)))
    .map((s) => ({ where: "modules_to_save", message: `"${s}" matches no module` }));
  const targets = new Set(matched);
  const biasless = config.loraBias ? infos.filter((m) => m.isEmbedding && targets.has(m.name)) : [];
  const all = [
    ...problems,
    ...unknownSaved,
    ...biasless.map((m) => ({ where: m.name, message: "is an embedding, which has no lora_bias" })),
    ...(config.loraBias && config.dora ? [{ where: "lora_bias", message: "cannot be used with DoRA" }] : []),
  ];
  if (all.length > 0) throw new InputError("the LoRA configuration does not fit this model", all);
  const adapted = modules.filter((_, i) => targets.has((infos[i] as ModuleInfo).name));
  const biasOwners = config.bias === "all" ? modules : config.bias === "lora_only" ? adapted : [];
  return {
    modules: adapted.flatMap((m) => adapt(family, config, m)),
    saved: modules.filter((_, i) => isSavedModule(config, (infos[i] as ModuleInfo).name)),
    dora: config.dora,
    biases: biasOwners.flatMap((m) => ("bias" in m && m.bias ? [`${m.path}.bias`] : [])),
  };
}

import type { BaseModel } from "../models/base.ts";
import { norm } from "../tensor/linear-algebra.ts";
import type { FloatTensor } from "../tensor/tensor.ts";
import { type Amplification, amplification } from "./amplification.ts";
import { moduleWeight } from "./module-weight.ts";
import {
  effectiveRank,
  randomSpectrum,
  rankKeeping,
  type Spectrum,
  spectrumOf,
  stableRank,
} from "./spectrum.ts";
import { leading } from "./subspace.ts";
import type { ModuleUpdate } from "./update.ts";

/** Share of ‖ΔW‖²_F that counts as all of it. */
export const KEPT_SHARE = 0.99;

/** One module of an explanation. */
export interface ModuleExplanation {
  /** As in `ModuleUpdate`. */
  readonly path: string;
  /** Number of its layer; null outside of the layers. */
  readonly layer: number | null;
  /** What it is in its layer, `attention.q`. */
  readonly matrix: string;
  readonly shape: readonly [number, number];
  /** r of B·A; null for an update that is no such product. */
  readonly rank: number | null;
  /** Factor on B·A; null likewise. */
  readonly scaling: number | null;
  /** Of ΔW, falling, without zeros; of an update that is no product the leading 16. */
  readonly singularValues: readonly number[];
  /** Whether `singularValues` are all that are not zero. */
  readonly isComplete: boolean;
  /** ‖ΔW‖_F */
  readonly deltaNorm: number;
  /** ‖W‖_F; null without the base. */
  readonly weightNorm: number | null;
  /** By the entropy of the singular values (`effectiveRank`); null where not all are known. */
  readonly effectiveRank: number | null;
  /** Of B·A of the same shape with random factors: the control; null for an update that is no product. */
  readonly randomEffectiveRank: number | null;
  /** ‖ΔW‖²_F / σ₁² */
  readonly stableRank: number;
  /** Smallest rank that keeps 99% of ‖ΔW‖²_F; null where more singular values are needed than are known. */
  readonly rank99: number | null;
  /** The same of random factors. */
  readonly randomRank99: number | null;
  /** null without the base, and for a ΔW of zero. */
  readonly amplification: Amplification | null;
}

/** A module, and what it was found from. */
export interface AnalysedModule {
  readonly explanation: ModuleExplanation;
  readonly update: ModuleUpdate;
  readonly spectrum: Spectrum;
}

/** `layers.0.attention.q` or `model.layers.0.self_attn.q_proj` → layer 0, and what is in it. */
export function placeOf(path: string): { readonly layer: number | null; readonly matrix: string } {
  const [, number, rest] = /(?:^|\.)(\d+)\.(.+)$/.exec(path) ?? [];
  if (number === undefined || rest === undefined) return { layer: null, matrix: path };
  return { layer: Number(number), matrix: rest };
}

/** Everything about one module. `ownDirections`: W's own directions too, which take most of the time. */
export async function analyseModule(
  update: ModuleUpdate,
  base: BaseModel | null,
  ownDirections: boolean,
): Promise<AnalysedModule> {
  const { path, shape, factors } = update;
  const spectrum = await spectrumOf(update);
  const { s, frobenius, isComplete } = spectrum;
  const weight = base === null ? null : await moduleWeight(base, path);
  const rank = factors === null ? null : (factors.a.shape[0] as number);
  const control = rank === null ? null : controlOf(shape, rank);
  const explanation: ModuleExplanation = {
    path,
    ...placeOf(path),
    shape,
    rank,
    scaling: factors?.scaling ?? null,
    singularValues: [...s],
    isComplete,
    deltaNorm: frobenius,
    weightNorm: weight && norm(weight.data),
    effectiveRank: isComplete ? effectiveRank(s) : null,
    randomEffectiveRank: control && effectiveRank(control),
    stableRank: stableRank(s, frobenius),
    rank99: rankKeeping(KEPT_SHARE, s, frobenius),
    randomRank99: control && rankKeeping(KEPT_SHARE, control, norm(control)),
    amplification: weight && amplificationOf(weight, spectrum, ownDirections),
  };
  return { explanation, update, spectrum };
}

/** Spectra of random factors by shape: modules of one kind share them. */
const controls = new Map<string, Float64Array>();

function controlOf([outSize, inSize]: readonly [number, number], rank: number): Float64Array {
  const key = `${outSize} ${inSize} ${rank}`;
  const known = controls.get(key) ?? randomSpectrum(outSize, inSize, rank);
  controls.set(key, known);
  return known;
}

function amplificationOf(
  weight: FloatTensor,
  { u, s, v, frobenius }: Spectrum,
  own: boolean,
): Amplification | null {
  if (s.length === 0) return null;
  return amplification(weight, { u: leading(u, s.length), v: leading(v, s.length), frobenius }, own);
}

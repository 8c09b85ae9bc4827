import { type FloatTensor, floats } from "../../tensor/tensor.ts";
import { type Lora, loraOfPlan } from "../methods/lora.ts";
import type { LoraModule } from "../methods/lora-plan.ts";
import type { ModelShape } from "../model-shape.ts";

/** One of several LoRA adapters that act together. */
export interface LoraTerm {
  readonly lora: Lora;
  /** Its trained values by name. */
  readonly values: ReadonlyMap<string, FloatTensor>;
  readonly factor: number;
}

/** LoRA that computes what several do together: of each module Σ f·s·B·A = [f₁s₁B₁ … fₙsₙBₙ]·[A₁; …; Aₙ], exactly, with the
 *  ranks added up and a scaling of 1 (PEFT's `cat`). So adapters that differ only in alpha have one structure. What is trained
 *  whole is that of the only term that trains it. */
export function summedLora(loras: readonly Lora[], { config, modules }: ModelShape): Lora {
  const [first] = loras as [Lora, ...Lora[]];
  const summed = new Map<string, LoraModule>();
  for (const m of loras.flatMap((l) => l.plan.modules)) {
    const rank = (summed.get(m.path)?.rank ?? 0) + m.rank;
    const hasBias = m.hasBias || summed.get(m.path)?.hasBias === true;
    summed.set(m.path, { ...m, rank, alpha: rank, scaling: 1, hasBias });
  }
  const all = [...summed.values()];
  const ranks = Object.fromEntries(all.map((m) => [m.name, m.rank]));
  const plan = {
    modules: all,
    saved: [...new Set(loras.flatMap((l) => l.plan.saved))],
    biases: [...new Set(loras.flatMap((l) => l.plan.biases))],
    dora: false,
  };
  const sum = {
    ...first.config,
    rsLora: false,
    loraBias: loras.some((l) => l.config.loraBias),
    targetModules: all.map((m) => m.name),
    excludeModules: null,
    layersToTransform: null,
    layersPattern: null,
    rankPattern: ranks,
    alphaPattern: ranks,
    modulesToSave: [...new Set(loras.flatMap((l) => l.config.modulesToSave))],
  };
  return loraOfPlan(sum, plan, config.family, modules);
}

/** Trained values of a sum. */
export function summedValues(sum: Lora, terms: readonly LoraTerm[]): Map<string, FloatTensor> {
  const values = new Map(terms.flatMap((t) => [...t.values])); // what is trained whole
  const scalings = terms.map(({ lora }) => new Map(lora.plan.modules.map((m) => [m.path, m.scaling])));
  for (const m of sum.plan.modules) {
    const own = terms.flatMap((term, i) => termOf(term, m.path, scalings[i]?.get(m.path)));
    values.set(`${m.path}.loraA`, stackedRows(own, m));
    values.set(`${m.path}.loraB`, scaledColumns(own, m));
    if (m.hasBias) values.set(`${m.path}.loraBias`, scaledBias(own, m));
  }
  return values;
}

interface ModuleTerm {
  readonly a: FloatTensor;
  readonly b: FloatTensor;
  readonly bias: FloatTensor | undefined;
  readonly strength: number;
}

function termOf({ values, factor }: LoraTerm, path: string, scaling: number | undefined): ModuleTerm[] {
  const [a, b] = [values.get(`${path}.loraA`), values.get(`${path}.loraB`)];
  const bias = values.get(`${path}.loraBias`);
  return a && b && scaling !== undefined ? [{ a, b, bias, strength: factor * scaling }] : [];
}

/** A's below each other, [Σ rank, in]. */
function stackedRows(terms: readonly ModuleTerm[], m: LoraModule): FloatTensor {
  const data = new Float32Array(m.rank * m.inSize);
  let at = 0;
  for (const { a } of terms) {
    data.set(a.data, at);
    at += a.data.length;
  }
  return floats(data, [m.rank, m.inSize]);
}

/** B's side by side, [out, Σ rank], each times its strength. */
function scaledColumns(terms: readonly ModuleTerm[], m: LoraModule): FloatTensor {
  const data = new Float32Array(m.outSize * m.rank);
  let column = 0;
  for (const { b, strength } of terms) {
    const rank = b.shape[1] as number;
    for (let i = 0; i < m.outSize; i++)
      for (let j = 0; j < rank; j++)
        data[i * m.rank + column + j] = strength * (b.data[i * rank + j] as number);
    column += rank;
  }
  return floats(data, [m.outSize, m.rank]);
}

/** Σ of the biases [out], each times its strength. */
function scaledBias(terms: readonly ModuleTerm[], m: LoraModule): FloatTensor {
  const data = new Float32Array(m.outSize);
  for (const { bias, strength } of terms)
    for (let i = 0; i < m.outSize; i++) data[i] = (data[i] as number) + strength * (bias?.data[i] ?? 0);
  return floats(data, [m.outSize]);
}

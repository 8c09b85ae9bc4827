import type { TrainOptions } from "lowrank";

/** A way to adapt, as the paper compares them. */
export interface PaperMethod {
  readonly name: string;
  readonly options: TrainOptions;
  /** Usual learning rate: the grid that is searched is made of multiples of it. */
  readonly rate: number;
  /** The method that the learning rate is searched with, where this is one of its variants (another rank, other matrices). */
  readonly ratedBy?: PaperMethod;
}

export const QV: readonly string[] = ["q_proj", "v_proj"];
export const ATTENTION: readonly string[] = ["q_proj", "k_proj", "v_proj", "o_proj"];

/** LoRA of a rank on some kinds of matrices. */
function lora(targetModules: readonly string[], rank: number): PaperMethod {
  const short = targetModules.map((m) => m.replace("_proj", "")).join(", ");
  return {
    name: `LoRA r=${rank} on ${short}`,
    options: { method: "lora", targetModules: [...targetModules], rank, alpha: 16, dropout: 0 },
    rate: 1e-3,
  };
}

/** LoRA as the paper has it: query and value projections, α twice the rank. */
const LORA = lora(QV, 8);

/** LoRA of a rank on some kinds of matrices, at the learning rate of LoRA as the paper has it. */
export function loraOn(targetModules: readonly string[], rank: number): PaperMethod {
  return { ...lora(targetModules, rank), ratedBy: LORA };
}

/** The methods of Tables 2 to 4. */
export const PAPER_METHODS: readonly PaperMethod[] = [
  { name: "FT", options: { method: "full" }, rate: 2e-5 },
  { name: "FT-Top2", options: { method: "full", layers: "last:2" as never }, rate: 1e-4 },
  { name: "BitFit", options: { method: "bitfit" }, rate: 1e-3 },
  { name: "PreEmbed", options: { method: "prefix-embedding" }, rate: 1e-2 },
  { name: "PreLayer", options: { method: "prefix-layer" }, rate: 1e-2 },
  { name: "Adapter-H", options: { method: "adapter-houlsby" }, rate: 1e-3 },
  { name: "Adapter-L", options: { method: "adapter-lin" }, rate: 1e-3 },
  { name: "Adapter-P", options: { method: "adapter-pfeiffer" }, rate: 1e-3 },
  loraOn(QV, 8),
];

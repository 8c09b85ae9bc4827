import type { Experiment } from "../experiment.ts";
import { loraOn, type PaperMethod, QV } from "../lab/methods.ts";
import { losses, lowerLoss, RUN_COLUMNS, type Runs, rateNote, runRow, runsOf } from "./common.ts";

const RANKS = [4, 8];
/** The rank that learning rates are searched with. */
const SEARCHED_RANK = 8;

/** LoRA of a rank, alone and with a prefix before embeddings or in every layer. */
function variants(rank: number): PaperMethod[] {
  const lora = loraOn(QV, rank);
  const joined = (name: string, method: string): PaperMethod => {
    const one = (r: number): PaperMethod => {
      const { options, rate, name: alone } = loraOn(QV, r);
      return { name: `${alone} + ${name}`, options: { ...options, method: `lora+${method}` }, rate };
    };
    return { ...one(rank), ratedBy: one(SEARCHED_RANK) };
  };
  return [lora, joined("PreEmbed", "prefix-embedding"), joined("PreLayer", "prefix-layer")];
}

/** Table 15. */
export const combinations: Experiment = {
  name: "combinations",
  section: "Appendix E, Table 15",
  title: "LoRA with prefixes",
  question: "Do prefixes add something to LoRA?",
  theirs:
    "On WikiSQL, LoRA with PreEmbed is better than either alone; LoRA with PreLayer is a little worse than LoRA.",
  version: 1,
  measure: async (lab, size) => {
    const found: Runs[] = [];
    for (const rank of RANKS)
      for (const method of variants(rank)) found.push(await runsOf(lab, size, method));
    const [alone, embed] = [found[3], found[4]] as [Runs, Runs];
    return {
      claims: [
        lowerLoss(
          "LoRA with PreEmbed is better than LoRA alone.",
          ["LoRA + PreEmbed", losses(embed)],
          ["LoRA", losses(alone)],
        ),
      ],
      tables: [{ name: "combinations", title: "Test loss", columns: RUN_COLUMNS, rows: found.map(runRow) }],
      notes: [rateNote(size)],
    };
  },
};

import type { Experiment } from "../experiment.ts";
import { loraOn } from "../lab/methods.ts";
import { mean } from "../lab/statistics.ts";
import { losses, lowerLoss, RUN_COLUMNS, type Runs, rateNote, runRow, runsOf } from "./common.ts";

const MLP = ["gate_proj", "up_proj", "down_proj"];
const ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"];

/** The paper's grid, and what it left out: matrices and the rank that spends the same budget on them. */
const GRID: readonly (readonly [modules: readonly string[], rank: number])[] = [
  [["q_proj"], 8],
  [["k_proj"], 8],
  [["v_proj"], 8],
  [["o_proj"], 8],
  [["q_proj", "k_proj"], 4],
  [["q_proj", "v_proj"], 4],
  [ATTENTION, 2],
  [MLP, 1],
  [[...ATTENTION, ...MLP], 1],
];

/** §7.1, Table 5. */
export const whichMatrices: Experiment = {
  name: "which-matrices",
  section: "§7.1, Table 5",
  title: "Which matrices to adapt",
  question:
    "With a fixed number of trained parameters, is it better to adapt one kind of matrix at a high rank or several at a low one?",
  theirs:
    "WikiSQL, 18 million parameters: q 70.4, k 70.0, v 73.0, o 73.2 (r = 8); q, k 71.4, q, v 73.7 (r = 4); q, k, v, o 73.7% (r = 2). Several kinds at a low rank are better than one at a high rank.",
  version: 1,
  measure: async (lab, size) => {
    const found: Runs[] = [];
    for (const [modules, r] of GRID) found.push(await runsOf(lab, size, loraOn(modules, r)));
    const singles = found.slice(0, 4);
    const best = singles.reduce((a, b) => (mean(losses(b)) < mean(losses(a)) ? b : a), singles[0] as Runs);
    const [both, all] = [found[5], found[6]] as [Runs, Runs];
    return {
      claims: [
        lowerLoss(
          "q and v at r = 4 are better than q alone at r = 8.",
          ["q, v", losses(both)],
          ["q", losses(singles[0] as Runs)],
        ),
        lowerLoss(
          "All four at r = 2 are better than the best single kind at r = 8.",
          ["q, k, v, o", losses(all)],
          [best.method.name, losses(best)],
        ),
      ],
      tables: [
        {
          name: "which-matrices",
          title: "Test loss by what is adapted",
          columns: RUN_COLUMNS,
          rows: found.map(runRow),
        },
      ],
      notes: [
        rateNote(size),
        "The paper's budgets are equal because its four matrices are. Here k and v are a third as wide, and the MLP is wider: the " +
          "table says how many parameters each choice has. Gate, up and down, and all linear layers, were not in the paper.",
      ],
    };
  },
};

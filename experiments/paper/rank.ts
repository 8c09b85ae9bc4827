import type { Experiment } from "../experiment.ts";
import { ATTENTION, loraOn, PAPER_METHODS, type PaperMethod, QV } from "../lab/methods.ts";
import { mean } from "../lab/statistics.ts";
import { losses, noWorse, RUN_COLUMNS, type Runs, rateNote, runRow, runsOf } from "./common.ts";

const SETS: readonly (readonly [string, readonly string[]])[] = [
  ["q", ["q_proj"]],
  ["q, v", QV],
  ["q, k, v, o", ATTENTION],
];

/** §7.2, Table 6. */
export const rank: Experiment = {
  name: "rank",
  section: "§7.2, Table 6",
  title: "Which rank",
  question: "The rank r is how many directions an update may have. How few are enough?",
  formula:
    "<math><mrow><mi>h</mi><mo>=</mo><msub><mi>W</mi><mn>0</mn></msub><mi>x</mi><mo>+</mo><mfrac><mi>α</mi><mi>r</mi></mfrac><mi>B</mi><mi>A</mi><mi>x</mi></mrow></math>",
  theirs:
    "WikiSQL, r = 1, 2, 4, 8, 64: on q and v 73.4, 73.3, 73.7, 73.8, 73.5%; on q alone 68.8 to 70.5%. Rank 1 is nearly enough on q and v.",
  version: 1,
  measure: async (lab, size) => {
    const found = new Map<string, Runs[]>();
    for (const [name, modules] of SETS) {
      const runs: Runs[] = [];
      for (const r of size.ranks) runs.push(await runsOf(lab, size, loraOn(modules, r)));
      found.set(name, runs);
    }
    const full = await runsOf(lab, size, PAPER_METHODS[0] as PaperMethod);
    const [low, high] = [size.ranks[0] as number, size.ranks.at(-1) as number];
    const at = (r: number): Runs => found.get("q, v")?.[size.ranks.indexOf(r)] as Runs;
    const fullLine = size.ranks.map((r): [number, number] => [r, mean(losses(full))]);
    return {
      claims: [
        noWorse(
          "A very small rank is enough on q and v: rank 1 is nearly as good as rank 64.",
          [`rank ${low}`, losses(at(low))],
          [`rank ${high}`, losses(at(high))],
          0.05,
        ),
      ],
      tables: [
        {
          name: "rank",
          title: "Test loss by rank and matrices",
          columns: RUN_COLUMNS,
          rows: [...[...found.values()].flat(), full].map(runRow),
        },
      ],
      figures: [
        {
          title: "Test loss over the rank",
          kind: "line",
          x: { name: "rank r", log: true },
          y: { name: "test loss, nats per token" },
          series: [
            ...[...found].map(([name, runs]) => ({
              name,
              points: runs.map((one, i): [number, number] => [size.ranks[i] as number, mean(losses(one))]),
            })),
            { name: "full fine-tuning", points: fullLine },
          ],
        },
      ],
      notes: [rateNote(size), "α is 16 at every rank, as the scale α/r is part of what is asked."],
    };
  },
};

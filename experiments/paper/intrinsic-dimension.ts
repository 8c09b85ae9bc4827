import type { Entry, Experiment } from "../experiment.ts";
import { loraOn, PAPER_METHODS, type PaperMethod, QV } from "../lab/methods.ts";
import { mean, spread } from "../lab/statistics.ts";
import { decided, losses, RUN_COLUMNS, type Runs, rateNote, runRow, runsOf } from "./common.ts";

/** Numbers that are trained in all. */
const DIMENSIONS = [10, 100, 1000, 10_000];

/** The d that the learning rate is searched with. */
const SEARCHED = 1000;

/** d numbers on q and v. */
function intrinsic(dimension: number): PaperMethod {
  const ratedBy = dimension === SEARCHED ? {} : { ratedBy: intrinsic(SEARCHED) };
  return {
    ...ratedBy,
    name: `intrinsic d=${dimension.toLocaleString("en")}`,
    options: { method: "intrinsic", targetModules: [...QV], intrinsicDimension: dimension },
    rate: 3e-2,
  };
}

/** §1; Li et al. 2018, Aghajanyan et al. 2020. */
export const intrinsicDimension: Experiment = {
  name: "intrinsic-dimension",
  section: "§1, after Aghajanyan et al. 2020",
  title: "How many numbers a task needs",
  question:
    "LoRA's idea comes from this: train only d numbers, spread over all weights by a fixed random map, and see how small d may be.",
  formula:
    "<math><mrow><mi>θ</mi><mo>=</mo><msub><mi>θ</mi><mn>0</mn></msub><mo>+</mo><mi>P</mi><msub><mi>θ</mi><mi>d</mi></msub></mrow></math>",
  theirs:
    "LoRA's paper cites it: pretrained models have a low intrinsic dimension. Aghajanyan et al. reach 90% of full fine-tuning with some hundred numbers on MRPC.",
  version: 1,
  measure: async (lab, size) => {
    const before: number[] = [(await lab.base()).loss];
    const full = await runsOf(lab, size, PAPER_METHODS[0] as PaperMethod);
    const found: Runs[] = [];
    for (const d of DIMENSIONS) found.push(await runsOf(lab, size, intrinsic(d)));
    const beside = await runsOf(lab, size, loraOn(QV, 1));
    const [start, end] = [mean(before), mean(losses(full))];
    /** Share of full fine-tuning's gain over the base model. */
    const gain = (one: Runs): number => (start - mean(losses(one))) / (start - end);
    const enough = DIMENSIONS.filter((_, i) => gain(found[i] as Runs) >= 0.9)[0] ?? null;
    const most = gain(found.at(-1) as Runs);
    return {
      claims: [
        {
          text: "Ten thousand numbers reach most of what full fine-tuning gains.",
          test: "The fall of the test loss at d = 10,000 is at least half of that of full fine-tuning, mean over seeds.",
          verdict: decided(lab, !Number.isNaN(most), most >= 0.5),
          because: `${(100 * most).toFixed(0)}% of the gain; d₉₀ ${enough === null ? "is above 10,000" : `is at most ${enough.toLocaleString("en")}`}`,
        },
      ],
      tables: [
        {
          name: "intrinsic-dimension",
          title: "Test loss by trained numbers",
          columns: [...RUN_COLUMNS, "share of the gain of FT, %"],
          rows: [
            ["no training", 0, null, spread(before), 0] as Entry[],
            ...[...found, beside, full].map((one): Entry[] => [...runRow(one), 100 * gain(one)]),
          ],
        },
      ],
      figures: [
        {
          title: "Test loss over trained numbers",
          kind: "line",
          x: { name: "trained numbers d", log: true },
          y: { name: "test loss, nats per token" },
          series: [
            {
              name: "intrinsic",
              points: found.map((one, i): [number, number] => [DIMENSIONS[i] as number, mean(losses(one))]),
            },
            {
              name: "LoRA r=1 on q, v",
              points: [[beside.runs[0]?.parameters ?? Number.NaN, mean(losses(beside))]],
            },
            { name: "full fine-tuning", points: DIMENSIONS.map((d): [number, number] => [d, end]) },
          ],
        },
      ],
      notes: [
        rateNote(size),
        "d₉₀ is of the fall of the loss, where Aghajanyan et al. take the accuracy. P is made by Fastfood, over q and v alone here.",
      ],
    };
  },
};

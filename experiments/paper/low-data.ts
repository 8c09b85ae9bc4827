import type { Experiment } from "../experiment.ts";
import { PAPER_METHODS } from "../lab/methods.ts";
import type { Size } from "../lab/sizes.ts";
import { mean } from "../lab/statistics.ts";
import { losses, lowerLoss, RUN_COLUMNS, type Runs, rateNote, runRow, runsOf } from "./common.ts";

const COMPARED = ["FT", "PreLayer", "PreEmbed", "LoRA"];

/** Passes over so many examples that make as many steps as the size's examples do. */
function epochsOf(examples: number, size: Size): number {
  return Math.max(1, Math.round((size.examples * size.epochs) / examples));
}

/** Table 16. */
export const lowData: Experiment = {
  name: "low-data",
  section: "Appendix F.3, Table 16",
  title: "Little data",
  question: "Which methods still work with a hundred examples?",
  theirs:
    "MNLI-100: LoRA 63.8%, FT 60.2%, PreLayer 48.3%, PreEmbed 37.6%; the prefixes catch up with more data.",
  version: 2,
  measure: async (lab, size) => {
    const compared = PAPER_METHODS.filter(({ name }) =>
      COMPARED.some((c) => name === c || name.startsWith(`${c} `)),
    );
    const found: { examples: number; one: Runs }[] = [];
    for (const examples of size.lowData)
      for (const method of compared)
        found.push({
          examples,
          one: await runsOf(lab, size, method, { examples, epochs: epochsOf(examples, size) }),
        });
    const least = size.lowData[0] as number;
    const at = (name: string): Runs =>
      found.find((f) => f.examples === least && f.one.method.name.startsWith(name))?.one as Runs;
    return {
      claims: [
        lowerLoss(
          `With ${least} examples LoRA is better than PreEmbed.`,
          ["LoRA", losses(at("LoRA"))],
          ["PreEmbed", losses(at("PreEmbed"))],
        ),
        lowerLoss(
          `With ${least} examples LoRA is better than full fine-tuning.`,
          ["LoRA", losses(at("LoRA"))],
          ["FT", losses(at("FT"))],
        ),
      ],
      tables: [
        {
          name: "low-data",
          title: "Test loss by number of examples",
          columns: ["examples", ...RUN_COLUMNS],
          rows: found.map(({ examples, one }) => [examples, ...runRow(one)]),
        },
      ],
      figures: [
        {
          title: "Test loss over examples",
          kind: "line",
          x: { name: "examples", log: true },
          y: { name: "test loss, nats per token" },
          series: compared.map(({ name }) => ({
            name,
            points: found
              .filter((f) => f.one.method.name === name)
              .map(({ examples, one }): [number, number] => [examples, mean(losses(one))]),
          })),
        },
      ],
      notes: [
        rateNote(size),
        "Every cell makes about the same number of steps: fewer examples are seen more often.",
      ],
    };
  },
};

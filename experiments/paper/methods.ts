import type { Entry, Experiment, Figure, Table } from "../experiment.ts";
import { PAPER_METHODS } from "../lab/methods.ts";
import { mean, spread } from "../lab/statistics.ts";
import {
  exactMatches,
  losses,
  meanOf,
  noWorse,
  RUN_COLUMNS,
  type Runs,
  rateNote,
  runRow,
  runsOf,
} from "./common.ts";

/** Tables 2 to 4, Figure 2. */
export const methods: Experiment = {
  name: "methods",
  section: "§5, Tables 2 to 4, Figure 2",
  title: "The methods side by side",
  question:
    "Full fine-tuning, biases alone, prefixes, bottleneck adapters, LoRA: what does each reach, with how many trained parameters?",
  theirs:
    "E2E, GPT-2 medium, BLEU: FT 68.2, Adapter-L 68.9, Adapter-H 67.3, FT-Top2 68.1, PreLayer 69.7, LoRA 70.4.",
  version: 1,
  measure: async (lab, size) => {
    const [tables, figures]: [Table[], Figure[]] = [[], []];
    let first: Runs[] = [];
    for (const task of lab.tasks) {
      const base = await lab.base(task);
      const found: Runs[] = [];
      for (const method of PAPER_METHODS)
        found.push(await runsOf(lab, size, method, { task, answers: true }));
      if (first.length === 0) first = found;
      const row = (one: Runs): Entry[] => [
        ...runRow(one),
        spread(
          exactMatches(one).map((x) => 100 * x),
          1,
        ),
        spread(
          one.runs.map((r) => r.answers?.bleu ?? Number.NaN),
          1,
        ),
        spread(
          one.runs.map((r) => 100 * (r.answers?.rougeL ?? Number.NaN)),
          1,
        ),
      ];
      const { answers } = base;
      const without: Entry[] = [
        "no training",
        0,
        null,
        meanOf([base.loss]),
        answers && 100 * answers.exactMatch,
        answers?.bleu ?? null,
        answers && 100 * answers.rougeL,
      ];
      tables.push({
        name: `methods-${task}`,
        title: `Methods on ${task}`,
        columns: [...RUN_COLUMNS, "exact match, %", "BLEU", "ROUGE-L, %"],
        rows: [without, ...found.map(row)],
      });
      figures.push({
        title: `Test loss over trained parameters: ${task}`,
        kind: "points",
        x: { name: "trained parameters", log: true },
        y: { name: "test loss, nats per token" },
        series: found.map((one) => ({
          name: one.method.name,
          points: [[one.runs[0]?.parameters ?? Number.NaN, mean(losses(one))]],
        })),
      });
    }
    const named = (name: string): Runs | undefined =>
      first.find(({ method }) => method.name.startsWith(name));
    const [lora, full] = [named("LoRA"), named("FT")];
    return {
      claims:
        lora && full
          ? [
              noWorse(
                "LoRA matches full fine-tuning with a small share of the parameters.",
                ["LoRA", losses(lora)],
                ["FT", losses(full)],
                0.05,
              ),
            ]
          : [],
      tables,
      figures,
      notes: [
        rateNote(size),
        "BLEU and ROUGE-L are against all references of a row. Question classes (TREC) are not bundled, since their licence is not stated: --questions names a folder with them.",
      ],
    };
  },
};

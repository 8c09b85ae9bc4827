import { basename } from "node:path";
import { cardTable } from "../formats/hf/card.ts";
import { publicModelName } from "../hub/known-names.ts";
import { describeSettings } from "../options/setting.ts";
import { writeAdapterCard } from "../peft/files/card.ts";
import { chosenModules } from "../peft/methods/target-options.ts";
import { type TrainConfig, trainConfig, trainConfigSchema } from "./config/config.ts";
import type { DoneEvent, ExactMatchChange, PlanEvent } from "./events.ts";
import type { RunPlan } from "./plan.ts";

/** What a run's card tells. */
export interface RunCard {
  readonly config: TrainConfig;
  readonly plan: RunPlan;
  readonly planned: PlanEvent;
  readonly outcome: Pick<DoneEvent, "steps" | "bestStep" | "lossBefore" | "lossAfter" | "exactMatch">;
}

/** Options that a card names even where they are the defaults. */
const ALWAYS = new Set(["method", "learningRate", "schedule", "batchSize", "seed"]);
/** Of methods with a rank. */
const OF_RANK = new Set(["rank", "alpha", "targetModules"]);
const GROUPS = new Set(["Adapter", "Optimizer"]);

const integer = (value: number): string => value.toLocaleString("en-US");

/** Writes the card of a trained adapter. No path of this machine is in it.
 *  @throws LowrankError ("storage") if the disk does not take it */
export async function writeRunCard(folder: string, card: RunCard): Promise<void> {
  const { config, plan } = card;
  const { methods } = plan.model;
  const baseModel = publicModelName(plan.base.source.name);
  const configs = methods.map((m) => m.files.config(baseModel));
  const isPeft = configs.length === 1 && configs[0]?.peft_type !== undefined;
  const names = methods.map((m) => m.name);
  await writeAdapterCard(folder, {
    title: config.name ?? `${basename(baseModel)}: ${names.join(" + ")} for ${plan.dataset.name}`,
    summary: `Trained with lowrank by ${names.join(" + ")} on ${plan.dataset.name}.`,
    baseModel,
    methods: names,
    library: isPeft ? "peft" : "lowrank",
    classifier: plan.base.config.encoder?.classifier ?? null,
    datasets: plan.dataset.hubIds,
    sections: [
      `## Results\n\n${cardTable(results(card))}`,
      `## Data\n\n${cardTable(dataRows(card))}`,
      `## Training\n\n${cardTable(
        options(
          { ...config, targetModules: chosenModules(config, plan.base) },
          configs.some((c) => "r" in c || "init_r" in c),
        ),
      )}`,
    ],
  });
}

function results({ planned, outcome, plan }: RunCard): [string, string][] {
  const { lossBefore, lossAfter, exactMatch, bestStep, steps } = outcome;
  const split = plan.test ? "test" : "validation";
  const loss = (value: number): string => `${value.toFixed(4)} ${planned.lossUnit}`;
  return [
    ...(lossBefore === null ? [] : [[`${split} loss before`, loss(lossBefore)] as [string, string]]),
    ...(lossAfter === null ? [] : [[`${split} loss after`, loss(lossAfter)] as [string, string]]),
    ...exactMatchRows(exactMatch),
    [
      "trainable parameters",
      `${integer(planned.trainableParameters)} (${(100 * planned.share).toFixed(2)}% of ${integer(planned.totalParameters)})`,
    ],
    [
      "steps",
      bestStep === null ? integer(steps) : `${integer(steps)}; kept: that of step ${integer(bestStep)}`,
    ],
  ];
}

function exactMatchRows(exactMatch: ExactMatchChange | undefined): [string, string][] {
  if (exactMatch === undefined) return [];
  const { before, after, prompts } = exactMatch;
  const share = (value: number): string =>
    `${(100 * value).toFixed(1)}% of ${integer(prompts)} held-out answers`;
  return [
    ["exact match before", share(before)],
    ["exact match after", share(after)],
  ];
}

function dataRows({ config, plan, planned }: RunCard): [string, string][] {
  const { examples, validationExamples, testExamples, truncated, dropped, labels } = planned;
  return [
    ["name", plan.dataset.name],
    ["format", plan.dataset.format],
    ["training rows", `${integer(examples)} (${integer(truncated)} truncated, ${integer(dropped)} dropped)`],
    ["validation rows", integer(validationExamples)],
    ["test rows", integer(testExamples)],
    ...(labels === null ? [] : [["labels", labels.join(", ")] as [string, string]]),
    ["longest example", `${integer(plan.model.positionCount)} tokens`],
    ["loss on", config.lossOn],
  ];
}

/** The options of method and optimizer that are not at their defaults, and those that a reader always asks for. */
function options(config: Readonly<Record<keyof TrainConfig, unknown>>, hasRank: boolean): [string, string][] {
  const defaults = trainConfig();
  const text = (value: unknown): string =>
    Array.isArray(value)
      ? value.join(", ")
      : typeof value === "object"
        ? JSON.stringify(value)
        : String(value);
  return describeSettings(trainConfigSchema)
    .filter(({ help }) => GROUPS.has(help.group))
    .flatMap(({ key }): [string, string][] => {
      const [value, fallback] = [config, defaults].map((c) => c[key as keyof TrainConfig]);
      const isNamed = ALWAYS.has(key) || (hasRank && OF_RANK.has(key));
      return isNamed || JSON.stringify(value) !== JSON.stringify(fallback) ? [[key, text(value)]] : [];
    });
}

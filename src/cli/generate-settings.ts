import { z } from "zod";
import type { GenerateRequest } from "../generate/stream.ts";
import { type SettingsOf, setting } from "../options/setting.ts";

const GROUP = "Sampling";

/** How tokens are chosen; null: not limited. */
export interface SamplingChoice {
  readonly maxTokens: number;
  /** 0 takes the most likely token, 1 samples as the model says. */
  readonly temperature: number;
  /** Sample among the n most likely tokens; 0: among all. */
  readonly topK: number | null;
  /** Sample among the most likely tokens that together have this probability. */
  readonly topP: number | null;
  /** Drop tokens below this share of the most likely one's probability. */
  readonly minP: number | null;
  readonly repetitionPenalty: number;
  /** Taken from a token's logit as often as it was generated. */
  readonly frequencyPenalty: number;
  /** Taken from the logit of every token that was generated. */
  readonly presencePenalty: number;
  /** Token id → what is added to its logit. */
  readonly logitBias: Readonly<Record<string, number>>;
  readonly seed: number;
  /** Texts that end the answer. */
  readonly stop: readonly string[];
}

/** Options of how tokens are chosen; greedy by default. */
export const samplingSettings: SettingsOf<SamplingChoice> = {
  maxTokens: setting(z.number().int().min(1), 256, {
    group: GROUP,
    value: "n",
    description: "most tokens to generate",
    knownAs: ["maxNewTokens", "nPredict"],
  }),
  temperature: setting(z.number().min(0), 0, {
    group: GROUP,
    value: "x",
    description: "0 takes the most likely token, 1 samples as the model says",
    knownAs: ["temp"],
  }),
  topK: setting(z.number().int().min(0).nullable(), null, {
    group: GROUP,
    value: "n",
    description: "sample among the n most likely tokens; 0: among all",
  }),
  topP: setting(z.number().gt(0).max(1).nullable(), null, {
    group: GROUP,
    value: "share",
    description: "sample among the most likely tokens that together have this probability",
  }),
  minP: setting(z.number().min(0).max(1).nullable(), null, {
    group: GROUP,
    value: "share",
    description: "drop tokens below this share of the most likely one's probability; 0: none",
  }),
  repetitionPenalty: setting(z.number().positive(), 1, {
    group: GROUP,
    value: "x",
    description: "above 1, tokens seen before become less likely",
    knownAs: ["repeatPenalty"],
  }),
  frequencyPenalty: setting(z.number().min(-2).max(2), 0, {
    group: GROUP,
    value: "x",
    description: "-2 to 2: above 0, tokens become less likely with every time they were generated",
  }),
  presencePenalty: setting(z.number().min(-2).max(2), 0, {
    group: GROUP,
    value: "x",
    description: "-2 to 2: above 0, tokens that were generated become less likely",
  }),
  logitBias: setting(
    z.record(z.string().regex(/^\d+$/), z.number().min(-100).max(100)),
    {},
    {
      group: GROUP,
      value: "id=x,…",
      description: "add x, -100 to 100, to the logit of a token: -100 all but forbids it",
      expects: "ids of tokens, each with a number from -100 to 100: 50=-100",
    },
  ),
  seed: setting(z.number().int().min(0), 0, {
    group: GROUP,
    value: "n",
    description: "seed of the sampling",
  }),
  stop: setting(z.array(z.string().min(1)), [], {
    group: GROUP,
    value: "text",
    description: "end before this text; \\n is a line break; may be repeated",
  }),
};

/** The choice as the library takes it. */
export function samplingOf(choice: SamplingChoice): GenerateRequest {
  const {
    topK,
    topP,
    minP,
    stop,
    maxTokens,
    temperature,
    repetitionPenalty,
    frequencyPenalty,
    presencePenalty,
    logitBias,
    seed,
  } = choice;
  return {
    maxTokens,
    temperature,
    repetitionPenalty,
    frequencyPenalty,
    presencePenalty,
    logitBias,
    seed,
    stop: stop.map((text) => text.replaceAll("\\n", "\n").replaceAll("\\t", "\t")),
    ...(topK === null ? {} : { topK }),
    ...(topP === null ? {} : { topP }),
    ...(minP === null ? {} : { minP }),
  };
}

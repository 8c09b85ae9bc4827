import type {
  DoneEvent,
  EvaluationEvent,
  PlanEvent,
  SamplesEvent,
  StepEvent,
} from "../../src/train/events.ts";

/** A plan as a run on shell-recipes makes one. */
export const PLAN: PlanEvent = {
  type: "plan",
  model: "smollm2-135m",
  task: "language-modelling",
  labels: null,
  lossUnit: "nats per token",
  counts: "tokens",
  command: "generate",
  method: "lora",
  data: "shell-recipes",
  trained: [
    { name: "model.layers.*.self_attn.q_proj", count: 30 },
    { name: "model.layers.*.self_attn.v_proj", count: 30 },
  ],
  trainableParameters: 460_800,
  totalParameters: 134_975_808,
  share: 460_800 / 134_975_808,
  examples: 1307,
  validationExamples: 0,
  testExamples: 213,
  tokensPerEpoch: { padded: 91_234, trie: 31_870, labels: 15_020, countedBatches: null },
  steps: 164,
  stepsPerEpoch: 164,
  truncated: 2,
  dropped: 0,
  recompute: "none",
  resources: {
    frozenBytes: 538_060_032,
    trainableBytes: 1_843_200,
    gradientBytes: 1_843_200,
    optimizerBytes: 3_686_400,
    workingBytes: 1_354_567_168,
    memoryBytes: 1.9e9,
    adapterBytes: 1_852_720,
    checkpointBytes: 7_382_512,
  },
  estimatedSeconds: 262,
  runFolder: "runs/shell-recipes-1",
};

/** Step `step` of `steps` of a run whose loss falls from 3.8 to about 2. */
export function stepEvent(step: number, steps = 164): StepEvent {
  return {
    type: "step",
    step,
    steps,
    epoch: step / steps,
    loss: 2 + 1.8 * Math.exp(-step / 25) + 0.35 * Math.sin(step * 12.9898),
    learningRate: 1e-3 * Math.min(step / 10, (steps - step) / Math.max(1, steps - 10)),
    gradNorm: 1.25,
    labelTokens: 92,
    trieTokens: 195,
    examples: 8,
    elapsedMs: 1500,
    tokensPerSecond: 812.4,
    examplesPerSecond: 6.13,
    etaMs: (steps - step) * 1500,
  };
}

/** An evaluation on the test split. */
export function evaluationEvent(
  step: number,
  loss: number,
  split: "validation" | "test" = "test",
): EvaluationEvent {
  return {
    type: "evaluation",
    step,
    split,
    loss,
    perplexity: Math.exp(loss),
    tokenAccuracy: 0.412,
    labelTokens: 2310,
    elapsedMs: 12_300,
    isBest: true,
  };
}

/** Two sample answers, one of them hostile to pages and terminals. */
export function samplesEvent(when: "before" | "after", step: number): SamplesEvent {
  const outputs =
    when === "before"
      ? [
          "You can use the `tar` command.\nFirst, open a terminal and go to the folder.",
          "I am <b>not</b> sure",
        ]
      : ["tar -tf archive.tar", "<script>alert('x')</script>\u001b[31m"];
  return {
    type: "samples",
    step,
    when,
    samples: [
      {
        prompt: "tar: list the files in an archive",
        reference: "tar tf archive.tar",
        output: outputs[0] as string,
      },
      {
        prompt: "curl: fetch a page & save it",
        reference: 'curl -o "page.html" URL',
        output: outputs[1] as string,
      },
    ],
  };
}

/** The end of the run. */
export const DONE: DoneEvent = {
  type: "done",
  steps: 164,
  elapsedMs: 252_000,
  adapterPath: "runs/shell-recipes-1/adapter",
  bestStep: 164,
  lossBefore: 3.763,
  lossAfter: 2.017,
  measured: { peakMemoryBytes: 2.1e9, adapterBytes: 1_852_720, checkpointBytes: 7_384_000 },
  reportPath: "runs/shell-recipes-1/report.html",
};

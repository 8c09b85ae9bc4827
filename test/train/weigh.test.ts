import { afterAll, beforeAll, expect, test } from "vitest";
import type { Example } from "../../src/data/batch.ts";
import { languageModelling } from "../../src/objectives/language-modelling.ts";
import type { Objective, ScoredSequence } from "../../src/objectives/objective.ts";
import { initialParameters } from "../../src/peft/parameters.ts";
import { openRuntime, type Runtime } from "../../src/runtime/runtime.ts";
import { random } from "../../src/tensor/random.ts";
import { floats } from "../../src/tensor/tensor.ts";
import { createEvaluationEngine } from "../../src/train/evaluation.ts";
import { createTrainEngine } from "../../src/train/step.ts";
import { openTiny, subjectOf, type TinyModel, tinyLora } from "../models/harness.ts";
import { localGroup } from "../parallel/local-group.ts";

let runtime: Runtime;
let tiny: TinyModel;
beforeAll(async () => {
  runtime = openRuntime({ threads: 1 });
  tiny = await openTiny("llama");
});
afterAll(async () => {
  await tiny.close();
  await runtime.close();
});

const BETA = 0.5;
const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

/** Preferences (as in DPO, without its reference): of each two examples the first is to be likelier. */
const preference: Objective = {
  ...languageModelling,
  name: "preference",
  weigh: (sequences) => {
    const of = new Map(sequences.map((s, i) => [s.example, i]));
    const weights = sequences.map(() => 0);
    const pairs = sequences.filter((s) => s.example % 2 === 0);
    let loss = 0;
    for (const chosen of pairs) {
      const [c, r] = [of.get(chosen.example) as number, of.get(chosen.example + 1) as number];
      const margin = BETA * (chosen.logProbability - (sequences[r] as ScoredSequence).logProbability);
      loss -= Math.log(sigmoid(margin)) / pairs.length;
      weights[c] = (BETA * sigmoid(-margin)) / pairs.length;
      weights[r] = -(weights[c] as number);
    }
    return { loss, weights };
  },
};

/** The mean over labels, said through the sequences. */
const likelihood: Objective = {
  ...languageModelling,
  weigh: (sequences) => {
    const labels = sequences.reduce((n, s) => n + s.labelCount, 0);
    const sum = sequences.reduce((n, s) => n + s.logProbability, 0);
    return { loss: -sum / labels, weights: sequences.map(() => 1 / labels) };
  },
};

/** Four answers, two each to a prompt, which begin alike. */
function examplesOf(vocabulary: number): Example[] {
  const g = random(5, "pairs");
  const draw = (n: number): number[] => Array.from({ length: n }, () => g.below(vocabulary));
  const prompts = [draw(3), draw(4)];
  return [0, 1, 2, 3].map((index) => {
    const prompt = prompts[Math.floor(index / 2)] as number[];
    const ids = Int32Array.from([...prompt, 7, ...draw(2 + index)]);
    return { index, ids, isLabel: Uint8Array.from(ids, (_, i) => (i >= prompt.length ? 1 : 0)) };
  });
}

const SGD = {
  optimizer: "sgd",
  momentum: 0,
  beta1: 0,
  beta2: 0,
  epsilon: 0,
  weightDecay: 0,
  clipNorm: null,
  labelSmoothing: 0,
  seed: 0,
};

async function adapted(objective: Objective, chunks = 1) {
  const method = await tinyLora(tiny);
  const model = { ...tiny.model, methods: [{ ...method, dropout: 0 }], positionCount: 16 };
  const start = await initialParameters(method.trainables, 3, (path) => tiny.file.read(path));
  const g = random(3, "shift");
  return { subject: subjectOf(model, chunks, objective), theta: start.map((x) => x + 0.1 * g.normal()) };
}

/** Loss and gradient: plain gradient descent at rate 1 subtracts it. */
async function gradientOf(objective: Objective, window: readonly (readonly Example[])[], chunks = 1) {
  const { subject, theta } = await adapted(objective, chunks);
  const engine = await createTrainEngine(runtime, subject, tiny.file.folder, SGD);
  await engine.setState({ theta });
  const { loss } = await engine.update(window, 1, 1);
  const after = await engine.theta();
  await engine.close();
  return { loss, theta, gradient: theta.map((x, i) => x - (after[i] as number)) };
}

/** Length of the steps that slopes are measured over, and how far they may be off, of the gradient's norm: float32 losses near 1
 *  tell 1e-7 apart, a slope 1e-5. The rest is the third derivative: seen 4e-4, and 7e-3 at four times the step. */
const [STEP, SLOPE] = [5e-3, 1e-3];

const norm = (x: Float32Array): number => Math.sqrt(x.reduce((n, y) => n + y * y, 0));

test("a loss of sequences' log-probabilities has the gradient that its weights say: finite differences", async () => {
  const examples = examplesOf(tiny.config.vocabSize);
  const { loss, theta, gradient } = await gradientOf(preference, [examples]);
  const { subject } = await adapted(preference);
  const engine = await createEvaluationEngine(runtime, subject, tiny.file.folder);
  const lossAt = async (at: Float32Array): Promise<number> => {
    await runtime.put({ theta: floats(at, [at.length]) });
    return (await engine.evaluate(examples)).loss;
  };
  expect(loss).toBeCloseTo(await lossAt(theta), 5);
  const drawn = [0, 1, 2].map((d) => {
    const g = random(d, "direction");
    return theta.map(() => g.normal());
  });
  for (const direction of [gradient, ...drawn]) {
    const unit = direction.map((x) => x / norm(direction));
    const [up, down] = [STEP, -STEP].map((by) => theta.map((x, i) => x + by * (unit[i] as number)));
    const slope = ((await lossAt(up as Float32Array)) - (await lossAt(down as Float32Array))) / (2 * STEP);
    const expected = gradient.reduce((n, x, i) => n + x * (unit[i] as number), 0);
    expect(Math.abs(slope - expected)).toBeLessThan(SLOPE * norm(gradient));
  }
  await engine.close();
});

test("whichever way the window is cut, the loss is that of the window", async () => {
  const examples = examplesOf(tiny.config.vocabSize);
  const whole = await gradientOf(preference, [examples]);
  const cut = await gradientOf(
    preference,
    [[0, 3].map((i) => examples[i] as Example), examples.slice(1, 3)],
    2,
  );
  expect(cut.loss).toBeCloseTo(whole.loss, 5);
  const difference = cut.gradient.map((x, i) => x - (whole.gradient[i] as number));
  expect(norm(difference)).toBeLessThan(1e-5 * norm(whole.gradient));
});

test("likelihood said through sequences is the mean over labels", async () => {
  const examples = examplesOf(tiny.config.vocabSize);
  const direct = await gradientOf(languageModelling, [examples.slice(0, 2), examples.slice(2)]);
  const weighed = await gradientOf(likelihood, [examples.slice(0, 2), examples.slice(2)]);
  expect(weighed.loss).toBeCloseTo(direct.loss, 5);
  const difference = weighed.gradient.map((x, i) => x - (direct.gradient[i] as number));
  expect(norm(difference)).toBeLessThan(1e-5 * norm(direct.gradient));
});

test("members of a group weigh the sequences of all", async () => {
  const examples = examplesOf(tiny.config.vocabSize);
  const whole = await gradientOf(preference, [examples]);
  const { subject, theta } = await adapted(preference);
  const sums = localGroup(2).map(async (group) => {
    const own = openRuntime({ threads: 1 });
    const engine = await createTrainEngine(own, subject, tiny.file.folder, { ...SGD, group });
    await engine.setState({ theta });
    const { loss } = await engine.update([examples], 1, 1);
    const after = await engine.theta();
    await engine.close();
    await own.close();
    return { loss, gradient: theta.map((x, i) => x - (after[i] as number)) };
  });
  for (const { loss, gradient } of await Promise.all(sums)) {
    expect(loss).toBeCloseTo(whole.loss, 5);
    const difference = gradient.map((x, i) => x - (whole.gradient[i] as number));
    expect(norm(difference)).toBeLessThan(1e-5 * norm(whole.gradient));
  }
});

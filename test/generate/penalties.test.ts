import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { InputError } from "../../src/errors.ts";
import { logprobsOf } from "../../src/generate/logprobs.ts";
import { candidates, createSampler, type SamplingOptions } from "../../src/generate/sampling.ts";

interface Fixture {
  readonly prompt: readonly number[];
  readonly generated: readonly number[];
  readonly logits: readonly number[];
  readonly cases: readonly { readonly options: SamplingOptions; readonly probabilities: readonly number[] }[];
  readonly logprobs: { readonly all: readonly number[]; readonly order: readonly number[] };
}

const path = new URL("../fixtures/generate/penalties.json", import.meta.url);
const fixture = JSON.parse(readFileSync(path, "utf8")) as Fixture;
const logits = Float32Array.from(fixture.logits);
const history = [...fixture.prompt, ...fixture.generated];

describe("bias and penalties against transformers and OpenAI's formula", () => {
  it.each(fixture.cases)("$options", ({ options, probabilities }) => {
    const before = logits.slice();
    const got = candidates(logits, history, options, fixture.prompt.length);
    expect(logits).toEqual(before);
    const byId = new Map(Array.from(got.ids, (id, i) => [id, got.probabilities[i] as number]));
    // PyTorch computes in float32, here in float64: 1e-6 is some ten roundings of a probability near 1.
    probabilities.forEach((probability, id) => {
      expect(Math.abs((byId.get(id) ?? 0) - probability)).toBeLessThan(1e-6);
    });
  });

  it("by hand: of the prompt nothing counts, of the answer every time", () => {
    const even = new Float32Array(3);
    const { probabilities } = candidates(even, [0, 1, 1], { frequencyPenalty: Math.LN2 }, 1);
    // Token 1 was generated twice: e^(-2 ln 2) = 1/4 of the others.
    expect(Array.from(probabilities, (p) => p.toFixed(6))).toEqual(["0.444444", "0.111111", "0.444444"]);
    const present = candidates(even, [0, 1, 1], { presencePenalty: Math.LN2 }, 1);
    expect(Array.from(present.probabilities, (p) => p.toFixed(6))).toEqual([
      "0.400000",
      "0.200000",
      "0.400000",
    ]);
  });

  it("act on the most likely token too", () => {
    const scores = Float32Array.from([2, 1.5, 0]);
    const greedy = (options: SamplingOptions, past: readonly number[] = []): number =>
      createSampler({ temperature: 0, ...options }).next(scores, past, 0);
    expect(greedy({})).toBe(0);
    expect(greedy({ logitBias: { 2: 100 } })).toBe(2);
    expect(greedy({ frequencyPenalty: 0.3 }, [0])).toBe(0);
    expect(greedy({ frequencyPenalty: 0.3 }, [0, 0])).toBe(1);
    expect(greedy({ presencePenalty: 0.6 }, [0])).toBe(1);
  });

  it("one sampler for logits of several sizes", () => {
    const sampler = createSampler({ temperature: 0, logitBias: { 1: 5 } });
    expect(sampler.next(new Float32Array(3), [])).toBe(1);
    expect(sampler.next(new Float32Array(7), [])).toBe(1);
    expect(sampler.next(new Float32Array(1), [])).toBe(0);
  });

  it("out of range, all are named", () => {
    const logitBias = { 5: 101, x: 1, 6: Number.NaN, 7: 100 } as Record<number, number>;
    expect(() => createSampler({ frequencyPenalty: 2.5, presencePenalty: Number.NaN, logitBias })).toThrow(
      new InputError("Sampling options are out of range:", [
        { where: "frequencyPenalty", message: "expected a number from -2 to 2, got 2.5" },
        { where: "presencePenalty", message: "expected a number from -2 to 2, got NaN" },
        { where: "logitBias of 5", message: "expected a number from -100 to 100, got 101" },
        { where: "logitBias of 6", message: "expected a number from -100 to 100, got NaN" },
        { where: "logitBias", message: "expected token ids, whole numbers from 0, got x" },
      ]),
    );
  });
});

describe("log-probabilities", () => {
  // Logits are read from float32, as PyTorch did; what is left is rounding of float64.
  const close = (got: number, id: number): void =>
    expect(Math.abs(got - (fixture.logprobs.all[id] as number))).toBeLessThan(1e-12);

  it("of every token are PyTorch's log_softmax", () => {
    for (let id = 0; id < logits.length; id++) close(logprobsOf(logits, id, 0).logprob, id);
  });

  it.each([0, 1, 5, 20, 40])("of the %d most likely, the lower id first on ties", (count) => {
    const { top } = logprobsOf(logits, 3, count);
    expect(top.map(({ id }) => id)).toEqual(fixture.logprobs.order.slice(0, count));
    for (const { id, logprob } of top) close(logprob, id);
  });
});
